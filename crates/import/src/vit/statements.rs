//! Statements of files and people about a model, each with its origin.

use serde_json::{Map, Value};

use super::spec::ModelSpec;
use coverslip_bundle::{BundleError, fail};

/// A statement and its origin, such as `config.json's hidden_size`.
#[derive(Clone, Debug)]
pub(super) struct Statement<T> {
    pub(super) value: T,
    pub(super) by: String,
}

/// All statements about a model. What only the weights show is not here.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    pub(super) embed_dim: Option<Statement<usize>>,
    /// timm's `num_features`: the width, which timm states for information only.
    pub(super) features: Option<Statement<usize>>,
    pub(super) depth: Option<Statement<usize>>,
    pub(super) heads: Option<Statement<usize>>,
    pub(super) patch: Option<Statement<usize>>,
    /// The model's input, px.
    pub(super) side: Option<Statement<usize>>,
    /// The input, px, for which the stored position embedding was made.
    pub(super) stored_side: Option<Statement<usize>>,
    pub(super) registers: Option<Statement<usize>>,
    pub(super) mlp_ratio: Option<Statement<f64>>,
    /// Hidden width of the MLP.
    pub(super) hidden: Option<Statement<usize>>,
    pub(super) eps: Option<Statement<f64>>,
    pub(super) class_token: Option<Statement<bool>>,
    pub(super) no_embed_class: Option<Statement<bool>>,
    pub(super) layer_scale: Option<Statement<bool>>,
    pub(super) qkv_bias: Option<Statement<bool>>,
    /// Whether the MLP is gated.
    pub(super) gated: Option<Statement<bool>>,
    pub(super) activation: Option<Statement<String>>,
    pub(super) mlp_layer: Option<Statement<String>>,
    /// timm's `global_pool`.
    pub(super) global_pool: Option<Statement<String>>,
    /// timm's `fc_norm`.
    pub(super) fc_norm: Option<Statement<bool>>,
    pub(super) mean: Option<Statement<[f64; 3]>>,
    pub(super) std: Option<Statement<[f64; 3]>>,
}

impl<T> Statement<T> {
    pub(super) fn new(value: T, by: impl Into<String>) -> Option<Self> {
        Some(Self { value, by: by.into() })
    }
}

impl Statements {
    /// Takes what it does not state from `below`.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            features: self.features.or(if self.embed_dim.is_some() { None } else { below.features }),
            embed_dim: self.embed_dim.or(below.embed_dim),
            depth: self.depth.or(below.depth),
            heads: self.heads.or(below.heads),
            patch: self.patch.or(below.patch),
            side: self.side.or(below.side),
            stored_side: self.stored_side.or(below.stored_side),
            registers: self.registers.or(below.registers),
            mlp_ratio: self.mlp_ratio.or(below.mlp_ratio),
            hidden: self.hidden.or(below.hidden),
            eps: self.eps.or(below.eps),
            class_token: self.class_token.or(below.class_token),
            no_embed_class: self.no_embed_class.or(below.no_embed_class),
            layer_scale: self.layer_scale.or(below.layer_scale),
            qkv_bias: self.qkv_bias.or(below.qkv_bias),
            gated: self.gated.or(below.gated),
            activation: self.activation.or(below.activation),
            mlp_layer: self.mlp_layer.or(below.mlp_layer),
            global_pool: self.global_pool.or(below.global_pool),
            fc_norm: self.fc_norm.or(below.fc_norm),
            mean: self.mean.or(below.mean),
            std: self.std.or(below.std),
        }
    }

    /// The statements of `model.json`.
    pub(super) fn of_spec(spec: &ModelSpec) -> Self {
        fn statement<T: Clone>(value: &Option<T>, field: &str) -> Option<Statement<T>> {
            value.clone().and_then(|value| Statement::new(value, format!("model.json's {field}")))
        }
        Self {
            embed_dim: statement(&spec.embed_dim, "embed_dim"),
            depth: statement(&spec.depth, "depth"),
            heads: statement(&spec.num_heads, "num_heads"),
            patch: statement(&spec.patch_size, "patch_size"),
            side: statement(&spec.img_size, "img_size"),
            registers: statement(&spec.register_tokens, "register_tokens"),
            mlp_ratio: statement(&spec.mlp_ratio, "mlp_ratio"),
            eps: statement(&spec.layer_norm_eps, "layer_norm_eps"),
            class_token: statement(&spec.class_token, "class_token"),
            no_embed_class: statement(&spec.no_embed_class, "no_embed_class"),
            layer_scale: statement(&spec.layer_scale, "layer_scale"),
            activation: statement(&spec.activation, "act_layer"),
            mlp_layer: statement(&spec.mlp_layer, "mlp_layer"),
            mean: statement(&spec.mean, "mean"),
            std: statement(&spec.std, "std"),
            ..Self::default()
        }
    }
}

/// The fields of a JSON object; `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    /// Prefix of a field's name in messages: `config.json's model_args.`.
    pub(super) place: &'a str,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Reads the field `key` with `read`.
    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Statement<T>>, BundleError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let by = format!("{}{key}", self.place);
        match read(value) {
            Some(value) => Ok(Some(Statement { value, by })),
            None => fail!(Invalid, "{by} is {value}, expected {expected}"),
        }
    }

    /// A size, or the same one for height and width.
    pub(super) fn size(&self, key: &str) -> Result<Option<Statement<usize>>, BundleError> {
        self.read(key, "a whole number, or the same one for height and width", square)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<Statement<f64>>, BundleError> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<Statement<bool>>, BundleError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Statement<String>>, BundleError> {
        self.read(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Values for R, G and B.
    pub(super) fn colours(&self, key: &str) -> Result<Option<Statement<[f64; 3]>>, BundleError> {
        self.read(key, "three numbers", |value| {
            let values: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
            values?.try_into().ok()
        })
    }
}

/// The side of a square, px: a number, `[n, n]`, `[3, n, n]`, or `{"height": n, "width": n}`.
pub(super) fn square(value: &Value) -> Option<usize> {
    let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let both = |height: &Value, width: &Value| count(height).filter(|n| Some(*n) == count(width));
    match value {
        Value::Array(sizes) => match &sizes[..] {
            [height, width] | [_, height, width] => both(height, width),
            _ => None,
        },
        Value::Object(sizes) => both(sizes.get("height")?, sizes.get("width")?),
        other => count(other),
    }
}
