//! The MLP's hidden layer: whether it is gated, and which rows are the gate. Shapes show the former. Tensor names show
//! the latter in some libraries, but not for timm's `mlp.fc1`, where it must be stated.

use super::conventions::Convention;
use super::names::Found;
use super::statements::{Statement, Statements};
use coverslip_bundle::Mlp;
use coverslip_bundle::{BundleError, fail};

/// The stored form of the hidden layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hidden {
    /// fc2(GELU(fc1 x)).
    Plain,
    /// Gate and value in `mlp.fc1`.
    Packed {
        /// Whether the value's rows come first, as in timm's `GluMlp`.
        gate_last: bool,
    },
    /// Gate and value in DINOv2's `mlp.w12`.
    Dinov2,
    /// The gate in `mlp.fc1_g`, the value in `mlp.fc1_x`.
    Separate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Activation {
    Gelu,
    Silu,
    Other,
}

/// Advice if nothing states which rows are the gate.
const WHAT_TO_SAY: &str = "say in model.json what the model card passes in Python, as a rule \"mlp_layer\": \
                           \"SwiGLUPacked\", \"act_layer\": \"silu\"";

impl Hidden {
    /// The bundle's MLP.
    pub(super) fn mlp(self) -> Mlp {
        if self == Self::Plain { Mlp::Gelu } else { Mlp::SwiGlu }
    }

    /// A note on how the gate was recognised, for a gated MLP.
    pub(super) fn note(self, stated: &Statements) -> Option<String> {
        let by = |said: &Option<Statement<String>>| said.as_ref().map_or(String::new(), |said| said.by.clone());
        match self {
            Self::Plain => None,
            Self::Packed { gate_last } => Some(format!(
                "the MLP is gated (SiLU), the gate is the {} half ({}, {})",
                if gate_last { "second" } else { "first" },
                by(&stated.mlp_layer),
                by(&stated.activation)
            )),
            Self::Dinov2 => Some("the MLP is gated (SiLU on the first half, as in DINOv2)".to_owned()),
            Self::Separate => Some("the MLP is gated (SiLU), gate and value are separate layers".to_owned()),
        }
    }
}

/// The stored form and width of the hidden layer, from the first block that has one. `stated` includes what the
/// architecture's name implies.
///
/// # Errors
/// `Missing` if there are no layers or nothing states which rows are the gate; `Unsupported` for other activations and
/// classes; `Invalid` if statements and weights contradict each other.
pub(super) fn read(found: &Found, stated: &Statements) -> Result<(Hidden, usize), BundleError> {
    let has = |part: &str| found.in_a_block(&format!("mlp.{part}.weight")).is_some();
    let second = if has("w12") { "w3" } else { "fc2" };
    let width = matrix(found, second)?.1;
    let hidden = if second == "w3" {
        Hidden::Dinov2
    } else if has("fc1_g") {
        separate(found, stated)?
    } else {
        match matrix(found, "fc1")?.0 {
            rows if rows == width => plain(stated)?,
            rows if Some(rows) == width.checked_mul(2) => packed(found, stated)?,
            rows => fail!(
                Invalid,
                "tensor `{}` has {rows} rows, `{}` reads {width} values; expected the same, or twice as many in a \
                 gated MLP",
                found.file_name("blocks.0.mlp.fc1.weight"),
                found.file_name("blocks.0.mlp.fc2.weight")
            ),
        }
    };
    compare(found, stated, hidden)?;
    Ok((hidden, width))
}

fn matrix(found: &Found, layer: &str) -> Result<(usize, usize), BundleError> {
    let part = format!("mlp.{layer}.weight");
    let name = found.in_a_block(&part).unwrap_or(format!("blocks.0.{part}"));
    match found.shape(&name) {
        Some([rows, columns]) => Ok((*rows, *columns)),
        Some(other) => fail!(Invalid, "tensor `{}` has shape {other:?}, expected 2 dimensions", found.file_name(&name)),
        None => fail!(Missing, "tensor `{}` is missing", found.file_name(&name)),
    }
}

/// The activation by the last part of a class or function name: `torch.nn.SiLU`, `silu`.
fn activation(name: &str) -> Activation {
    match last_part(name).as_str() {
        "gelu" | "gelu_erf" | "gelu_python" => Activation::Gelu,
        "silu" | "swish" => Activation::Silu,
        _ => Activation::Other,
    }
}

fn last_part(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

fn plain(stated: &Statements) -> Result<Hidden, BundleError> {
    match &stated.activation {
        Some(said) if activation(&said.value) != Activation::Gelu => fail!(
            Unsupported,
            "{} is `{}`: not supported in this version; the MLP is not gated, expected exact GELU (\"act_layer\": \
             \"gelu\")",
            said.by,
            said.value
        ),
        _ => Ok(Hidden::Plain),
    }
}

/// Two layers. transformers' code fixes SiLU for the gate; timm's Block passes its own activation down, by default
/// GELU.
fn separate(found: &Found, stated: &Statements) -> Result<Hidden, BundleError> {
    if found.convention != Convention::Transformers {
        expect_silu(found, "fc1_g", stated)?;
    }
    Ok(Hidden::Separate)
}

fn packed(found: &Found, stated: &Statements) -> Result<Hidden, BundleError> {
    let Some(layer) = &stated.mlp_layer else {
        fail!(
            Missing,
            "the MLP is gated (`{}` has twice as many rows as the next layer reads), and neither weights nor \
             config.json state which half is the gate, nor its activation; {WHAT_TO_SAY}",
            found.file_name("blocks.0.mlp.fc1.weight")
        );
    };
    let gate_last = match last_part(&layer.value).as_str() {
        "swiglupacked" => false,
        "glumlp" => true,
        "mlp" | "swiglu" | "swiglufused" => fail!(
            Invalid,
            "{} is `{}`, the weights have a packed gated MLP (`{}` has twice as many rows as the next layer reads); \
             {WHAT_TO_SAY}",
            layer.by,
            layer.value,
            found.file_name("blocks.0.mlp.fc1.weight")
        ),
        _ => return unknown_layer(layer),
    };
    expect_silu(found, "fc1", stated)?;
    Ok(Hidden::Packed { gate_last })
}

fn unknown_layer(layer: &Statement<String>) -> Result<Hidden, BundleError> {
    fail!(
        Unsupported,
        "{} is `{}`: not supported in this version; expected Mlp, SwiGLUPacked, GluMlp or SwiGLU",
        layer.by,
        layer.value
    )
}

fn expect_silu(found: &Found, layer: &str, stated: &Statements) -> Result<(), BundleError> {
    match &stated.activation {
        Some(said) if activation(&said.value) == Activation::Silu => Ok(()),
        Some(said) => fail!(
            Unsupported,
            "{} is `{}`: not supported in this version in a gated MLP (`{}`); expected SiLU; {WHAT_TO_SAY}",
            said.by,
            said.value,
            found.file_name(&format!("blocks.0.mlp.{layer}.weight"))
        ),
        None => fail!(
            Missing,
            "the MLP is gated (`{}`), and nothing states its activation (timm's blocks pass GELU on if no act_layer \
             is given); {WHAT_TO_SAY}",
            found.file_name(&format!("blocks.0.mlp.{layer}.weight"))
        ),
    }
}

/// Compares statements about the class and the gate with the weights.
fn compare(found: &Found, stated: &Statements, hidden: Hidden) -> Result<(), BundleError> {
    let there = if hidden == Hidden::Plain { "a plain MLP" } else { "a gated MLP" };
    if let Some(said) = stated.gated.as_ref().filter(|said| said.value == (hidden == Hidden::Plain)) {
        fail!(Invalid, "{} is {}, the weights have {there}; they do not belong together", said.by, said.value);
    }
    let Some(layer) = &stated.mlp_layer else { return Ok(()) };
    let fits = match last_part(&layer.value).as_str() {
        "mlp" => hidden == Hidden::Plain,
        "swiglupacked" | "glumlp" => matches!(hidden, Hidden::Packed { .. } | Hidden::Dinov2),
        "swiglu" | "swiglufused" => matches!(hidden, Hidden::Separate | Hidden::Dinov2),
        _ => return unknown_layer(layer).map(|_| ()),
    };
    if !fits {
        fail!(
            Invalid,
            "{} is `{}`, the weights have {there} (`{}`); they do not belong together; if the weights are right, \
             say so in model.json (\"mlp_layer\", \"act_layer\")",
            layer.by,
            layer.value,
            found.file_name(if hidden == Hidden::Separate {
                "blocks.0.mlp.fc1_g.weight"
            } else {
                "blocks.0.mlp.fc1.weight"
            })
        );
    }
    Ok(())
}
