"""Makes the golden files of `crates/import/tests/golden/sae`: tiny sparse autoencoders with random weights as their own
libraries save them, and what these libraries compute. Run by hand (the libraries bring gigabytes); the files are
committed. A second run writes the same bytes (but for the joblib file, which has addresses in it).

    python3.11 -m venv venv && venv/bin/pip install -r tools/goldens/requirements.txt
    PYTHONHASHSEED=0 venv/bin/python tools/goldens/sae.py [CASE ...]    # SAELens goes through sets

Versions: sae-lens 6.54.12, eai-sparsify 1.3.3, dictionary-learning 0.1.0, Overcomplete 0.3.0, torch 2.15.0. OpenAI's
sparse_autoencoder, Histoscope and Zhao/Sorger are in no registry: their formulas are written out below in NumPy and
torch, after reading github.com/openai/sparse_autoencoder, mnhcorp/histoscope and labsyspharm/Zhao-FMSAE-2026.

A case is a directory: the library's files, `golden.safetensors` (`x` [6, 8], `features` [6, 24], dense,
`reconstruction` [6, 8]) and `golden.json`:

    library    name and version                         note     what the case is about
    weights    the file to read, where it is not the directory
    options    what the files do not say (`k`, `activation_scale`)
    refused    words of which the refusal has to contain one; then features are there only where they are known

Row 2 of x is long, row 3 short. No decision (sign, threshold, rank) is closer than 1e-3, but for the cases
`*_at_threshold*`, where all sums are exact and p equals the threshold.
"""

import importlib.metadata
import json
import os
import shutil
import sys
import types
import warnings
import zlib
from collections import OrderedDict
from pathlib import Path

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
warnings.filterwarnings("ignore")

import joblib
import matplotlib
import matplotlib.cm
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap  # gone since matplotlib 3.9; overcomplete 0.3 imports it
from dictionary_learning import dictionary as dl
from dictionary_learning import trainers, utils
from dictionary_learning.trainers import matryoshka_batch_top_k
from overcomplete import sae as oc
from sae_lens import SAE
from sae_lens.registry import get_sae_class, get_sae_training_class
from sparsify import SparseCoder, SparseCoderConfig

OUT = Path(__file__).resolve().parents[2] / "crates/import/tests/golden/sae"
D, M, K = 8, 24, 12
MARGIN, LIMIT = 1e-3, 15_000  # least distance of a decision; most bytes of a case
CASES = {}


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def case(make, name=None, /, **arguments):
    CASES[name or make.__name__] = lambda folder, random: make(folder, random, **arguments)
    return make


def normal(random, *shape, scale=1.0):
    return torch.randn(shape, generator=random) * scale


def uniform(random, *shape, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(shape, generator=random)


def tiles(random):
    x = normal(random, 6, D) + 0.5
    return x * torch.tensor([1.0, 1.5, 12.0, 0.05, 1.0, 2.0])[:, None]


@torch.no_grad()
def randomize(module, random, skip=()):
    """Random tensors, features of different lengths, nothing neutral."""
    for name, value in module.state_dict().items():
        if name.endswith(skip) or not value.is_floating_point():
            continue
        if name.endswith(("threshold", "thresholds", "running_var")) and value.ndim:
            value.copy_(uniform(random, *value.shape, low=0.1, high=1.2))
        elif value.ndim >= 2:
            noise = normal(random, *value.shape, scale=D**-0.5)
            lengths = uniform(random, M, low=0.5, high=2.5)
            value.copy_(noise * (lengths[:, None] if value.shape[0] == M else lengths if value.shape[1] == M else 1))
        else:
            value.copy_(normal(random, *value.shape, scale=0.4))
    return module


def gap(p, k=K):
    """Distances of the k-th value from the next."""
    largest = p.topk(k + 1).values
    return largest[:, k - 1] - largest[:, k]


@torch.no_grad()
def exact(module):
    """Weights in eighths and x in quarters: products that are added up without rounding, in any order."""
    for value in module.parameters():
        value.copy_((value * 4).round().clamp(-8, 8) / 8)
    return module


def exact_tiles():
    return ((torch.arange(6 * D).reshape(6, D) * 7 % 13) - 6.0) / 4


def golden(library, x, features, reconstruction, decisions, note="", at=None, **more):
    """`decisions`: tensors none of whose values may be near 0; with `at` some of the last are to be 0."""
    close = min(float(d.abs().min()) for d in decisions)
    mixed = all(0 < int((row != 0).sum()) < M for row in features)
    varied = len({int((row != 0).sum()) for row in features}) > 1 or (features < 0).any()  # top-k: ReLU shows
    ok = mixed and varied and (close > MARGIN if at is None else bool((decisions[-1] == 0).any()))
    arrays = {"x": x, "features": features, "reconstruction": reconstruction}
    arrays = {name: value.float().contiguous() for name, value in arrays.items()}
    return ok, {"library": library, "note": note, **more}, arrays


def refused(library, words, note="", **more):
    return True, {"library": library, "note": note, "refused": words, **more}, None


def write_json(path, value, **style):
    path.write_text(json.dumps(value, **style))


# SAELens ---------------------------------------------------------------------------------------------------------

LENS = version("sae-lens")


def lens(folder, random, architecture="standard", note="", training=False, config=None, scale=None, words=None,
         at=None, **fields):  # fmt: skip
    """Saved, loaded and run by SAELens. `config` replaces cfg.json; `training`: as it is while it is trained."""
    cls, config_cls = (get_sae_training_class if training else get_sae_class)(architecture)
    fields = {"d_in": D, "d_sae": M, **({"k": K} if "topk" in architecture else {}), **fields}
    sae = randomize(cls(config_cls(**fields)), random)
    if architecture == "jumprelu":
        sae.threshold[:3] = -0.5  # ReLU shows
    if at:
        exact(sae).threshold.fill_(at)
    if "topk_threshold" in sae.state_dict():
        sae.topk_threshold.fill_(0.7)
    (sae.save_inference_model if training and not words else sae.save_model)(folder)
    if config:
        write_json(folder / "cfg.json", config)
    if words:
        return refused(LENS, words, note)
    if config and "hook_point" in config:
        weights = load_file(folder / "sae_weights.safetensors")
        save_file(weights | {"scaling_factor": torch.ones(M)}, folder / "sae_weights.safetensors")
    sae, x, pre = SAE.load_from_disk(folder), exact_tiles() if at else tiles(random), []
    if scale:
        sae.fold_activation_norm_scaling_factor(scale)
    sae.hook_sae_acts_pre.register_forward_hook(lambda module, inputs, output: pre.append(output))
    features = sae.encode(x)
    reconstruction = sae.decode(features)
    p = pre[0] * sae.W_dec.norm(dim=-1) if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) else pre[0]
    decisions = [p] + ([p - sae.threshold] if hasattr(sae, "threshold") else [])
    if hasattr(sae, "b_gate"):
        decisions.append(sae.process_sae_in(x) @ sae.W_enc + sae.b_gate)
    if sae.cfg.architecture() == "topk":
        decisions.append(gap(p))
    options = {"options": {"activation_scale": scale}} if scale else {}
    return golden(LENS, x, features, reconstruction, decisions, note, at=at, **options)


OLD = {"d_in": D, "d_sae": M, "dtype": "torch.float32", "device": "cpu", "model_name": "vit", "context_size": 128,
       "prepend_bos": True, "dataset_path": "tiles", "hook_point_layer": 11, "hook_point_head_index": None}
OLD_3 = {"architecture": "standard", "d_in": D, "d_sae": M, "apply_b_dec_to_input": True, "context_size": 128,
         "finetuning_scaling_factor": False, "model_name": "vit", "hook_name": "blocks.11.hook_resid_post",
         "hook_layer": 11, "hook_head_index": None, "prepend_bos": True, "dataset_path": "tiles", "dtype": "float32",
         "dataset_trust_remote_code": True, "normalize_activations": "none", "device": "cpu", "neuronpedia_id": None,
         "sae_lens_training_version": "3.12.1", "model_from_pretrained_kwargs": {}}

case(lens, "saelens_standard")
case(lens, "saelens_standard_keeps_b_dec", apply_b_dec_to_input=False, note="apply_b_dec_to_input false")
case(lens, "saelens_topk", architecture="topk", note="p above the k-th place may be negative: ReLU after top-k")
case(lens, "saelens_topk_rescaled", architecture="topk", rescale_acts_by_decoder_norm=True)
case(lens, "saelens_jumprelu", architecture="jumprelu", note="strict; thresholds of both signs")
case(lens, "saelens_gated", architecture="gated")
case(lens, "saelens_constant_norm_rescale", normalize_activations="constant_norm_rescale")
case(lens, "saelens_layer_norm", normalize_activations="layer_norm")
case(lens, "saelens_topk_layer_norm", architecture="topk", normalize_activations="layer_norm")
case(lens, "saelens_expected_average_only_in", normalize_activations="expected_average_only_in", scale=0.37,
     note="the scale is in no file of the SAE; fold_activation_norm_scaling_factor(0.37)")
case(lens, "saelens_batchtopk", architecture="batchtopk", training=True, note="save_inference_model: a jumprelu")
case(lens, "saelens_matryoshka_batchtopk", architecture="matryoshka_batchtopk", training=True,
     matryoshka_widths=[6, 12, M], note="save_inference_model: a jumprelu")
case(lens, "saelens_topk_trained", architecture="topk", training=True, rescale_acts_by_decoder_norm=True,
     note="save_inference_model folds the norms and still says rescale_acts_by_decoder_norm")
case(lens, "saelens_v1_standard", config=OLD | {"hook_point": "blocks.11.hook_resid_pre"},
     note="before 3.0: no architecture, hook_point, a tensor scaling_factor of ones")
case(lens, "saelens_v3_topk", architecture="topk",
     config=OLD_3 | {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}})
case(lens, "saelens_v3_relu", config=OLD_3 | {"activation_fn_str": "relu", "activation_fn_kwargs": {},
                                              "normalize_activations": False})


case(lens, "saelens_jumprelu_at_threshold", architecture="jumprelu", at=0.5, note="p = 0.5 is not active")
for architecture, fields in {
    "abstopk": {}, "matching_pursuit": {}, "temporal": {"n_heads": 2, "bottleneck_factor": 3, "kval_topk": K},
    **{name: {"d_out": D, "apply_b_dec_to_input": False} for name in (
        "transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")},
}.items():  # fmt: skip
    case(lens, f"saelens_refused_{architecture}", architecture=architecture, words=[f"`{architecture}`"], **fields)
case(lens, "saelens_refused_batchtopk", architecture="batchtopk", training=True, words=["`batchtopk`"])
case(lens, "saelens_refused_heads", architecture="standard", reshape_activations="hook_z", words=["hook_z"])
case(lens, "saelens_refused_whitening", architecture="standard", words=["covariance_whitening"],
     normalize_activations="covariance_whitening")
case(lens, "saelens_refused_no_scale", architecture="standard", words=["expected_average_only_in"],
     normalize_activations="expected_average_only_in")


@case
def saelens_refused_session(folder, random):
    shapes = {"W_enc": (D, M), "b_enc": (M,), "W_dec": (M, D), "b_dec": (D,)}
    state = {name: normal(random, *shape) for name, shape in shapes.items()}
    torch.save({"cfg": {"d_in": D, "d_sae": M}, "state_dict": state}, folder / "final_sparse_autoencoder.pt")
    note = "SAELens before 1.0 and its descendants for images (PatchSAE, CytoSAE, MammoSAE)"
    return refused(LENS, ["state_dict"], note, weights="final_sparse_autoencoder.pt")


# sparsify --------------------------------------------------------------------------------------------------------

SPARSIFY = version("eai-sparsify")


def sparse(folder, random, note="", unit=False, words=None, drop=(), add=None, **fields):
    coder = randomize(SparseCoder(D, SparseCoderConfig(**{"expansion_factor": 3, "k": K, **fields})), random)
    if unit:
        coder.set_decoder_norm_to_unit_norm()
    coder.save_to_disk(folder)
    config = json.loads((folder / "cfg.json").read_text())
    write_json(folder / "cfg.json", {k: v for k, v in config.items() if k not in drop} | (add or {}))
    if words:
        return refused(SPARSIFY, words, note)
    coder, x = SparseCoder.load_from_disk(folder), tiles(random)
    values, indices, _ = coder.encode(x)
    features = torch.zeros(6, M).scatter(1, indices, values)
    p = coder.encoder(x - coder.b_dec)
    rank = gap(p) if coder.cfg.activation == "topk" else gap(p.relu().unflatten(1, (K, -1)).flatten(0, 1), 1)
    rank = rank[rank != 0]  # groups without a positive value have no winner to report
    return golden(SPARSIFY, x, features, coder.decode(values, indices), [p, rank], note)


case(sparse, "sparsify_topk", normalize_decoder=False, note="num_latents 0: d_in * expansion_factor")
case(sparse, "sparsify_topk_unit_decoder", unit=True, num_latents=M, multi_topk=True)
case(sparse, "sparsify_normalize_decoder_not_done", note="normalize_decoder is for training: the loader does not")
case(sparse, "sparsify_groupmax", activation="groupmax", normalize_decoder=False)
case(sparse, "sparsify_old_cfg", drop=("activation", "transcode", "skip_connection"), note="before 1.2: topk")
case(sparse, "sparsify_refused_linear_path", skip_connection=True, words=["skip_connection"])
case(sparse, "sparsify_refused_other_layer", transcode=True, words=["transcode"])
case(sparse, "sparsify_refused_by_size", add={"signed": True}, words=["signed"],
     note="before 1.0: by size, with sign; 1.3.3 drops the field without a word")

# dictionary_learning ---------------------------------------------------------------------------------------------

DL = version("dictionary-learning")
STATED = {"steps": 9000, "activation_dim": D, "dict_size": M, "layer": 11, "lm_name": "vit", "device": "cpu", "seed": 0}
TRAINERS = {
    "autoencoder": trainers.StandardTrainer, "gated": trainers.GatedSAETrainer, "topk": trainers.TopKTrainer,
    "batchtopk": trainers.BatchTopKTrainer, "jumprelu": trainers.JumpReluTrainer,
    "matryoshka": matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
}  # fmt: skip


def dictionary(folder, random, name, note="", threshold=0.6, words=None, backup=False):
    if name == "autoencoder_new":  # has no trainer in this version
        sae, stated = dl.AutoEncoderNew(D, M), {"dict_class": "AutoEncoderNew", "activation_dim": D, "dict_size": M}
    else:
        more = {"k": K} if name in ("topk", "batchtopk", "matryoshka") else {}
        more |= {"group_fractions": [0.25, 0.25, 0.5]} if name == "matryoshka" else {}
        trainer = TRAINERS[name](**STATED, **more)
        sae, stated = trainer.ae, trainer.config
    randomize(sae, random)
    if hasattr(sae, "threshold") and not sae.threshold.ndim:
        sae.threshold.fill_(threshold)
    write_json(folder / "config.json", {"trainer": stated}, indent=4)
    state = {key: value.cpu() for key, value in sae.state_dict().items()}
    if backup:
        optimizer = trainer.optimizer.state_dict()
        state = {"step": 50, "ae": state, "optimizer": optimizer, "config": stated, "norm_factor": 3.7}
    torch.save(state, folder / "ae.pt")
    if words:
        return refused(DL, words, note)
    sae, _ = utils.load_dictionary(str(folder), "cpu")
    x = tiles(random)
    features = sae.encode(x)
    linear = hasattr(sae, "encoder")
    before = {"autoencoder": "bias", "gated": "decoder_bias"}.get(name, "b_dec")
    q = x if name in ("jumprelu", "autoencoder_new") else x - getattr(sae, before)
    q = q @ (sae.encoder.weight.T if linear else sae.W_enc)
    if name == "gated":
        decisions = [q + sae.gate_bias, q * sae.r_mag.exp() + sae.mag_bias]
    else:
        p = q + (sae.encoder.bias if linear else sae.b_enc)
        decisions = [p, gap(p) if name == "topk" else p - getattr(sae, "threshold", 0.0)]
    return golden(DL, x, features, sae.decode(features), decisions, note)


case(dictionary, "dictionary_autoencoder", name="autoencoder", note="the loader gives decoder vectors length 1")
case(dictionary, "dictionary_autoencoder_new", name="autoencoder_new", note="config.json by hand")
case(dictionary, "dictionary_gated", name="gated")
case(dictionary, "dictionary_topk", name="topk", note="a threshold is stored; encode() does not use it")
case(dictionary, "dictionary_batchtopk", name="batchtopk", note="the threshold, never the batch")
case(dictionary, "dictionary_matryoshka", name="matryoshka", note="all groups are active")
case(dictionary, "dictionary_jumprelu", name="jumprelu", note="b_dec is not subtracted")


case(dictionary, "dictionary_refused_unset", name="batchtopk", threshold=-1.0, words=["threshold"],
     note="-1: before threshold_start_step")
case(dictionary, "dictionary_refused_backup", name="topk", backup=True, words=["norm_factor"],
     note="ae.pt while training goes on (backup_steps, on GitHub after 0.1.0): biases are not scaled back")

# OpenAI ----------------------------------------------------------------------------------------------------------

OPENAI = "openai/sparse_autoencoder 764586ae, formulas written out"


def openai(folder, random, name="ReLU", after="ReLU", note=""):
    w_enc, w_dec = normal(random, M, D, scale=0.6), normal(random, D, M, scale=0.6)
    bias, pre_bias, x = normal(random, M, scale=0.4), normal(random, D, scale=0.4), tiles(random)
    state = OrderedDict(pre_bias=pre_bias, latent_bias=bias, stats_last_nonzero=torch.arange(M),
                        latents_activation_frequency=torch.ones(M), latents_mean_square=torch.zeros(M))
    state |= {"encoder.weight": w_enc, "decoder.weight": w_dec, "activation": name}
    state["activation_state_dict"] = OrderedDict({"k": K, "postact_fn": after} if name == "TopK" else {})
    torch.save(state, folder / "autoencoder.pt")
    mu, std, z = 0.0, 1.0, x
    if name == "TopK":  # exactly then the input is normalised
        mu, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        z = (x - mu) / (std + 1e-5)
    p = (z - pre_bias) @ w_enc.T + bias
    features = p.relu()
    if name == "TopK":
        top = p.topk(K)
        features = torch.zeros(6, M).scatter(1, top.indices, top.values.relu() if after == "ReLU" else top.values)
    reconstruction = (features @ w_dec.T + pre_bias) * std + mu
    return golden(OPENAI, x, features, reconstruction, [p, gap(p)], note, weights="autoencoder.pt")


case(openai, "openai_topk", name="TopK", note="LayerNorm")
case(openai, "openai_topk_identity", name="TopK", after="Identity", note="postact_fn Identity: values keep their sign")
case(openai, "openai_relu", note="no LayerNorm")

# overcomplete ----------------------------------------------------------------------------------------------------

OC = version("Overcomplete")


def overcomplete(folder, random, cls, module=False, encoder="linear", note="", k=False, train=False, words=None,
                 tie=lambda sae: sae, finish=lambda sae: None, at=None, **fields):  # fmt: skip
    """`module`: torch.save(sae), otherwise its state_dict; `train`: saved before eval()."""
    if cls in (oc.RATopKSAE, oc.RAJumpSAE):
        fields["points"] = normal(random, 10, D)
    if issubclass(cls, (oc.TopKSAE, oc.BatchTopKSAE)):
        fields["top_k"] = K
    make = lambda: tie(cls(D, M, encoder_module=encoder, **fields))
    sae = randomize(make(), random, skip=("dictionary.C", "tied_to.C"))
    if at:
        exact(sae).thresholds.fill_(at)
    finish(sae)
    if not train:
        sae.eval()
    torch.save(sae if module else sae.state_dict(), folder / "sae.pt")
    more = {"weights": "sae.pt"} | ({"options": {"k": K}} if k else {}) | ({"refused": words} if words else {})
    if words and cls is not oc.BatchTopKSAE:
        return True, {"library": OC, "note": note, **more}, None
    if module:
        sae = torch.load(folder / "sae.pt", weights_only=False)
    else:
        sae = make()
        sae.load_state_dict(torch.load(folder / "sae.pt"))
    if not module or train:
        sae.eval()
    x = exact_tiles() if at else tiles(random)
    p, features = sae.encode(x)
    decisions = [p]
    if isinstance(sae, oc.JumpSAE):
        decisions.append(p.relu() - sae.thresholds.exp())
    else:
        threshold = getattr(sae, "running_threshold", None)
        decisions.append(gap(p) if threshold is None else p - threshold)
    return golden(OC, x, features, sae.decode(features), decisions, note, at=at, **more)


def moved(sae):  # as after a step of the optimiser: rows of about length 1
    weights = sae.dictionary._weights.data
    weights.div_(weights.norm(dim=1, keepdim=True)).mul_(1 + 0.02 * torch.linspace(-1, 1, M)[:, None])


def log(sae):
    sae.thresholds.log_()


def running(sae):
    sae.running_threshold = torch.tensor(0.6)


MULTIPLIED = {"dictionary_params": {"use_multiplier": True}}
FREE = {"dictionary_params": {"normalization": "identity", "use_multiplier": True}}
case(overcomplete, "overcomplete_sae", cls=oc.SAE, module=True, note="ReLU; linear encoder, the default (no BatchNorm)")
case(overcomplete, "overcomplete_topk", cls=oc.TopKSAE, k=True, note="state_dict: k is in no file", **MULTIPLIED)
case(overcomplete, "overcomplete_topk_module", cls=oc.TopKSAE, module=True, **MULTIPLIED)
case(overcomplete, "overcomplete_topk_in_training", cls=oc.TopKSAE, k=True, train=True, finish=moved,
     note="saved before eval(), which normalises the rows")
case(overcomplete, "overcomplete_identity_module", cls=oc.TopKSAE, module=True, note="normalization identity", **FREE)
case(overcomplete, "overcomplete_batch_norm", cls=oc.TopKSAE, k=True, encoder="mlp_bn_1", note="BatchNorm1d")
case(overcomplete, "overcomplete_tied", cls=oc.TopKSAE, module=True, tie=lambda sae: sae.tied(bias=True), **MULTIPLIED)
case(overcomplete, "overcomplete_untied", cls=oc.TopKSAE, k=True, tie=lambda sae: sae.untied(bias=True))
case(overcomplete, "overcomplete_jump", cls=oc.JumpSAE, finish=log, note="thresholds are logarithms; active at >=")
case(overcomplete, "overcomplete_jump_module", cls=oc.JumpSAE, module=True, finish=log, **MULTIPLIED)
case(overcomplete, "overcomplete_jump_at_threshold", cls=oc.JumpSAE, at=0.5, finish=lambda sae: sae.thresholds.zero_(),
     note="p = exp(0) = 1 is active")
case(overcomplete, "overcomplete_archetypal_topk", cls=oc.RATopKSAE, k=True, note="saved after eval()")
case(overcomplete, "overcomplete_archetypal_topk_module", cls=oc.RATopKSAE, module=True, train=True, delta=0.8,
     note="saved before eval(), which makes W stochastic and keeps Relax within delta")
case(overcomplete, "overcomplete_archetypal_jump", cls=oc.RAJumpSAE, finish=log)
case(overcomplete, "overcomplete_batchtopk_module", cls=oc.BatchTopKSAE, module=True, finish=running,
     words=["BatchTopK"], note="features: active at >= running_threshold, which a module has as an attribute")
case(overcomplete, "overcomplete_refused_k", cls=oc.TopKSAE, words=["--sae-k"], note="which of three classes?")
case(overcomplete, "overcomplete_refused_free_rows", cls=oc.TopKSAE, k=True, train=True, words=["normalis"],
     note="saved before eval(), rows of any length")
for encoder in ("mlp_ln_1", "mlp_bn_3"):
    case(overcomplete, f"overcomplete_refused_{encoder}", cls=oc.SAE, encoder=encoder, words=["encoder"])
case(overcomplete, "overcomplete_refused_quantised", cls=oc.QSAE, words=["QSAE"])
for name, cls in {"pursuit": oc.MpSAE, "orthogonal_pursuit": oc.OMPSAE}.items():
    case(overcomplete, f"overcomplete_refused_{name}", cls=cls, encoder="identity", words=[cls.__name__])

# Ours, and pathology ---------------------------------------------------------------------------------------------


def prepare(x, steps, tensors, eps, scale):
    """x after its steps, and what undoes them."""
    undo = []
    for step in steps:
        if step == "standardize":
            mean, std = tensors["input_mean"], tensors["input_std"] + eps
            x, back = (x - mean) / std, lambda y, mean=mean, std=std: y * std + mean
        elif step == "scale":
            x, back = x * scale, lambda y: y / scale
        elif step == "layer_norm":
            mean, std = x.mean(1, keepdims=True), x.std(1, ddof=1, keepdims=True)
            x, back = (x - mean) / (std + 1e-5), lambda y, mean=mean, std=std: y * std + mean
        else:  # l2, constant_norm_rescale
            length = np.linalg.norm(x, axis=1, keepdims=True) / (1 if step == "l2" else D**0.5)
            x, back = x / length, lambda y, length=length: y * length
        undo.insert(0, back)
    return x, undo


def own(folder, random, architecture, input=(), k=None, tied=False, before=None, strict=None, at=None, eps=None,
        scale=None, b_enc=True, pruned=False, note="", save=None):  # fmt: skip
    """coverslip.sae/1, in NumPy and float64. `before`: apply_b_dec_to_input, None without b_dec."""
    draw = lambda *shape, scale=0.4: normal(random, *shape, scale=scale).numpy()
    tensors = {"W_enc": draw(D, M, scale=0.6)} | ({} if tied else {"W_dec": draw(M, D, scale=0.6)})
    tensors |= {"b_dec": draw(D)} if before is not None else {}
    tensors |= {"b_enc": draw(M)} if b_enc and architecture != "gated" else {}
    if architecture == "gated":
        tensors |= {"b_gate": draw(M), "r_mag": draw(M), "b_mag": draw(M)}
    if architecture == "jumprelu":
        tensors["threshold"] = uniform(random, M, low=0.1, high=1.2).numpy()
    if "standardize" in input:
        tensors |= {"input_mean": draw(D), "input_std": uniform(random, D, low=0.02, high=2.0).numpy()}
    if pruned:
        tensors["index_map"] = torch.randperm(64, generator=random)[:M].numpy().astype(np.int32)
    x = tiles(random).numpy()
    if at is not None:
        tensors = {name: (value * 4).round() / 8 for name, value in tensors.items()} | {"threshold": np.full(M, at)}
        x = exact_tiles().numpy()
    tensors = {name: v if v.dtype == np.int32 else v.astype(np.float32) for name, v in tensors.items()}
    stated = {"k": k, "input_eps": eps, "scale": scale, "apply_b_dec_to_input": before, "threshold_strict": strict}
    config = {"format": "coverslip.sae/1", "architecture": architecture, "d_in": D, "d_sae": M, "input": list(input),
              "tied": tied} | {name: value for name, value in stated.items() if value is not None}  # fmt: skip
    if save:
        more = save(folder, tensors, config)
    else:
        write_json(folder / "cfg.json", config, indent=2)
        save_file({name: torch.from_numpy(value) for name, value in tensors.items()}, folder / "sae.safetensors")
        more = {}
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    z, undo = prepare(x.astype(np.float64), input, t, eps or 0.0, scale)
    b_dec = t.get("b_dec", 0.0)
    q = (z - b_dec * bool(before)) @ t["W_enc"]
    p = q + t.get("b_enc", 0.0)
    decisions, f = [p], np.maximum(p, 0)
    if architecture == "gated":
        gate, magnitude = q + t["b_gate"], q * np.exp(t["r_mag"]) + t["b_mag"]
        f, decisions = (gate > 0) * np.maximum(magnitude, 0), [gate, magnitude]
    elif architecture == "jumprelu":
        f = f * (p > t["threshold"] if strict else p >= t["threshold"])
        decisions.append(p - t["threshold"])
    elif architecture == "groupmax":
        groups = p.reshape(6, k, -1)
        f = np.where(groups == groups.max(2, keepdims=True), np.maximum(groups, 0), 0).reshape(6, M)
        decisions.append(np.diff(np.sort(groups, 2)[:, :, -2:]))
    elif "topk" in architecture:
        kept = p >= np.sort(p, 1)[:, -k, None]
        f = np.where(kept, p if architecture == "signed_topk" else f, 0)
        decisions.append(np.diff(np.sort(p, 1))[:, -k])
    y = f @ (t["W_enc"].T if tied else t["W_dec"]) + b_dec
    for back in undo:
        y = back(y)
    tensor = lambda value: torch.from_numpy(np.asarray(value))
    ok, *rest = golden("coverslip.sae/1, formulas written out in NumPy", tensor(x), tensor(f), tensor(y),
                       [tensor(d) for d in decisions], note, at=at, **more)  # fmt: skip
    return ok and (architecture != "signed_topk" or (f < 0).any()), *rest


HISTOSCOPE = {"architecture": "signed_topk", "input": ["standardize", "l2"], "k": 16, "tied": True, "b_enc": False}
ZHAO = {"architecture": "relu", "input": ["scale"], "scale": 0.1441, "before": False, "pruned": True}


def histoscope_files(folder, tensors, config):
    torch.save(OrderedDict({"encoder.weight": torch.from_numpy(tensors["W_enc"].T.copy()),
                            "b_pre": torch.from_numpy(tensors["b_dec"])}), folder / "model.pt")  # fmt: skip
    statistics = {name: torch.from_numpy(tensors[f"input_{name}"]) for name in ("mean", "std")}
    torch.save(statistics, folder / "emb_stats.pt")
    stated = {"input_dim": D, "hidden_dim": M, "tie_weights": True, "use_pre_bias": True, "activation": "topk",
              "topk_k": config["k"]}  # fmt: skip
    arguments = {"emb_dir": "cache/train", "zscore": True, "l2_normalize": True}
    metadata = {"dataset_type": "spider", "hyperparameters": stated, "dataset_args": arguments}
    write_json(folder / "metadata.json", metadata, indent=2)
    return {"weights": "model.pt", "refused": ["b_pre"]}


def zhao_files(folder, tensors, config):
    """A pickle of classes of a module `SAE`, as joblib writes it."""
    module = types.ModuleType("SAE")
    module.SimpleAutoencoder = type("SimpleAutoencoder", (nn.Module,), {"__module__": "SAE"})
    module.SparseAutoencoder = type("SparseAutoencoder", (), {"__module__": "SAE"})
    sys.modules["SAE"] = module
    model, sae = module.SimpleAutoencoder(), module.SparseAutoencoder()
    model.encoder, model.decoder = nn.Linear(D, 64), nn.Linear(64, D)
    for layer, weight, bias in ((model.encoder, "W_enc", "b_enc"), (model.decoder, "W_dec", "b_dec")):
        layer.weight = nn.Parameter(torch.from_numpy(tensors[weight].T.copy()))
        layer.bias = nn.Parameter(torch.from_numpy(tensors[bias]))
    sae.embed_dim_, sae.model_, sae.scale_factor_, sae.is_pruned_ = 64, model, config["scale"], True
    sae.active_features_ = tensors["index_map"].astype(np.int64)
    joblib.dump(sae, folder / "ref_SAE_compressed.joblib", compress=("zlib", 3))
    return {"weights": "ref_SAE_compressed.joblib", "refused": ["`.joblib`"]}


case(own, "coverslip_histoscope", **HISTOSCOPE, eps=0.01, note="z-score, length 1, tied, signed top-k, no bias")
case(own, "coverslip_histoscope_pre_bias", **HISTOSCOPE, eps=1e-6, before=True,
     note="as the paper's checkpoint: b_pre is subtracted after the steps and added before they are undone")
case(own, "histoscope_own_files", **HISTOSCOPE, eps=1e-6, before=True, save=histoscope_files,
     note="model.pt, metadata.json and the cache's emb_stats.pt; eps 1e-6 is in the code alone")
case(own, "coverslip_zhao", **ZHAO, note="features 24 of 64 in the order of index_map; b_dec is added, not subtracted")
case(own, "zhao_own_files", **ZHAO, save=zhao_files, note="joblib: zlib of a pickle of SAE.SparseAutoencoder")
case(own, "coverslip_relu_layer_norm", architecture="relu", input=["layer_norm"], before=True)
case(own, "coverslip_topk_constant_norm", architecture="topk", k=K, input=["constant_norm_rescale"], before=True)
case(own, "coverslip_topk_scale_standardize", architecture="topk", k=K, input=["scale", "standardize"], scale=0.5)
case(own, "coverslip_groupmax", architecture="groupmax", k=K, before=True)
case(own, "coverslip_gated", architecture="gated", before=True)
case(own, "coverslip_jumprelu", architecture="jumprelu", before=False, strict=True)
case(own, "coverslip_jumprelu_at_threshold_strict", architecture="jumprelu", strict=True, at=0.5, note="p = 0.5: not")
case(own, "coverslip_jumprelu_at_threshold", architecture="jumprelu", strict=False, at=0.5, note="p = 0.5: active")


def main():
    assert os.environ.get("PYTHONHASHSEED") == "0", "run with PYTHONHASHSEED=0, so that files come out the same"
    for name in sys.argv[1:] or CASES:
        folder = OUT / name
        for attempt in range(200):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            torch.manual_seed(0)
            ok, facts, arrays = CASES[name](folder, torch.Generator().manual_seed(zlib.crc32(name.encode()) + attempt))
            if ok:
                break
        assert ok, f"{name}: no weights found without a close decision"
        paths = [str(path) for path in folder.iterdir()]  # a message has them: they would pass for the word
        assert not any(word in path for word in facts.get("refused", ()) for path in paths), f"{name}: {facts}"
        if arrays:
            save_file(arrays, folder / "golden.safetensors")
        write_json(folder / "golden.json", facts, indent=2)
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size < LIMIT, f"{name}: {size} bytes"
        print(f"{name}: {size} bytes, attempt {attempt}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
