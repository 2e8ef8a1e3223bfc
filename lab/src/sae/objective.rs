//! The objective of a training, as files and checkpoints name it.

use coverslip_analysis::sae::Objective;
use serde_json::{Value, json};

/// The objective with its numbers, as `training_details` of `cfg.json` has it. Later versions read that file, so the text
/// never changes.
pub(super) fn text(objective: Objective) -> String {
    match objective {
        Objective::TopK { k } => format!("TopK {{ k: {k} }}"),
        Objective::BatchTopK { k } => format!("BatchTopK {{ k: {k} }}"),
        Objective::Matryoshka { k, levels } => format!("Matryoshka {{ k: {k}, levels: {levels} }}"),
        Objective::Relu { l1 } => format!("Relu {{ l1: {} }}", float(l1)),
        Objective::JumpRelu { l0, bandwidth } => {
            format!("JumpRelu {{ l0: {}, bandwidth: {} }}", float(l0), float(bandwidth))
        }
    }
}

/// The objective as the options of `sae train` that give it, for the checkpoint's key.
pub(super) fn options(objective: Objective) -> Vec<(&'static str, Value)> {
    match objective {
        Objective::TopK { k } => vec![("arch", json!("topk")), ("k", json!(k))],
        Objective::BatchTopK { k } => vec![("arch", json!("batchtopk")), ("k", json!(k))],
        Objective::Matryoshka { k, levels } => {
            vec![("arch", json!("matryoshka")), ("k", json!(k)), ("levels", json!(levels))]
        }
        Objective::Relu { l1 } => vec![("arch", json!("relu")), ("l1", json!(float(l1)))],
        Objective::JumpRelu { l0, bandwidth } => {
            vec![("arch", json!("jumprelu")), ("l0", json!(float(l0))), ("bandwidth", json!(float(bandwidth)))]
        }
    }
}

/// The shortest text that reads back as `value`, with `.0` where it is whole.
fn float(value: f32) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// How a reader of the SAE finds the active features: the name in sae-eval.json.
pub(super) fn activation(objective: Objective) -> &'static str {
    match objective {
        Objective::TopK { .. } => "topk",
        Objective::Relu { .. } => "relu",
        Objective::BatchTopK { .. } | Objective::Matryoshka { .. } | Objective::JumpRelu { .. } => "jumprelu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_earlier_versions_wrote() {
        let objectives = [
            Objective::TopK { k: 32 },
            Objective::BatchTopK { k: 4 },
            Objective::Matryoshka { k: 8, levels: 5 },
            Objective::Relu { l1: 1.0 },
            Objective::JumpRelu { l0: 0.1, bandwidth: 0.5 },
        ];
        let expected = [
            "TopK { k: 32 }",
            "BatchTopK { k: 4 }",
            "Matryoshka { k: 8, levels: 5 }",
            "Relu { l1: 1.0 }",
            "JumpRelu { l0: 0.1, bandwidth: 0.5 }",
        ];
        assert_eq!(objectives.map(text), expected);
    }
}
