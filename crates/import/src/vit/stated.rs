//! What files and people say about a model, and where each of it was read.

use serde_json::{Map, Value};

use super::spec::ModelSpec;
use coverslip_bundle::{BundleError, fail};

/// Something said, and by whom: `config.json's hidden_size`.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) by: String,
}

/// Everything that can be said. What only weights show is not here.
#[derive(Clone, Debug, Default)]
pub(super) struct Stated {
    pub(super) embed_dim: Option<Said<usize>>,
    /// timm's `num_features`: the width, for information; no model is made from it.
    pub(super) features: Option<Said<usize>>,
    pub(super) depth: Option<Said<usize>>,
    pub(super) heads: Option<Said<usize>>,
    pub(super) patch: Option<Said<usize>>,
    /// Input that is wanted, px.
    pub(super) side: Option<Said<usize>>,
    /// Input that the stored position embedding is for, px.
    pub(super) stored_side: Option<Said<usize>>,
    pub(super) registers: Option<Said<usize>>,
    pub(super) mlp_ratio: Option<Said<f64>>,
    /// Hidden width of the MLP.
    pub(super) hidden: Option<Said<usize>>,
    pub(super) eps: Option<Said<f64>>,
    pub(super) class_token: Option<Said<bool>>,
    pub(super) no_embed_class: Option<Said<bool>>,
    pub(super) layer_scale: Option<Said<bool>>,
    pub(super) qkv_bias: Option<Said<bool>>,
    /// Whether the MLP is gated.
    pub(super) gated: Option<Said<bool>>,
    pub(super) activation: Option<Said<String>>,
    pub(super) mlp_layer: Option<Said<String>>,
    /// timm's `global_pool`.
    pub(super) global_pool: Option<Said<String>>,
    /// timm's `fc_norm`.
    pub(super) fc_norm: Option<Said<bool>>,
    pub(super) mean: Option<Said<[f64; 3]>>,
    pub(super) std: Option<Said<[f64; 3]>>,
}

impl<T> Said<T> {
    pub(super) fn new(value: T, by: impl Into<String>) -> Option<Self> {
        Some(Self { value, by: by.into() })
    }
}

impl Stated {
    /// It, and from `below` what it does not say.
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

    /// What `model.json` says.
    pub(super) fn of_spec(spec: &ModelSpec) -> Self {
        fn said<T: Clone>(value: &Option<T>, field: &str) -> Option<Said<T>> {
            value.clone().and_then(|value| Said::new(value, format!("model.json's {field}")))
        }
        Self {
            embed_dim: said(&spec.embed_dim, "embed_dim"),
            depth: said(&spec.depth, "depth"),
            heads: said(&spec.num_heads, "num_heads"),
            patch: said(&spec.patch_size, "patch_size"),
            side: said(&spec.img_size, "img_size"),
            registers: said(&spec.register_tokens, "register_tokens"),
            mlp_ratio: said(&spec.mlp_ratio, "mlp_ratio"),
            eps: said(&spec.layer_norm_eps, "layer_norm_eps"),
            class_token: said(&spec.class_token, "class_token"),
            no_embed_class: said(&spec.no_embed_class, "no_embed_class"),
            layer_scale: said(&spec.layer_scale, "layer_scale"),
            activation: said(&spec.activation, "act_layer"),
            mlp_layer: said(&spec.mlp_layer, "mlp_layer"),
            mean: said(&spec.mean, "mean"),
            std: said(&spec.std, "std"),
            ..Self::default()
        }
    }
}

/// The fields of a JSON object; `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    /// What comes before a field's name in messages: `config.json's model_args.`.
    pub(super) place: &'a str,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// `read` of the field `key`.
    fn said<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Said<T>>, BundleError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let by = format!("{}{key}", self.place);
        match read(value) {
            Some(value) => Ok(Some(Said { value, by })),
            None => fail!(Invalid, "{by} is {value}, expected {expected}"),
        }
    }

    /// A count, or the same one for height and width.
    pub(super) fn size(&self, key: &str) -> Result<Option<Said<usize>>, BundleError> {
        self.said(key, "a whole number, or the same one for height and width", square)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<Said<f64>>, BundleError> {
        self.said(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<Said<bool>>, BundleError> {
        self.said(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Said<String>>, BundleError> {
        self.said(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Values for R, G and B.
    pub(super) fn colours(&self, key: &str) -> Result<Option<Said<[f64; 3]>>, BundleError> {
        self.said(key, "three numbers", |value| {
            let values: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
            values?.try_into().ok()
        })
    }
}

/// A size of a square, px: a number, `[n, n]`, `[3, n, n]`, `{"height": n, "width": n}`.
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
