"""Makes the golden files of `crates/import/tests/golden/models`: tiny vision transformers with random weights as
timm, transformers and DINOv2 save them, and what these libraries put out for two tiles. Run by hand, because
torch is several gigabytes; the files are committed.

    pip install torch timm transformers safetensors numpy
    git clone https://github.com/facebookresearch/dinov2 /somewhere/dinov2
    python tools/goldens/models.py --dinov2 /somewhere/dinov2

A case is a directory:

    model.safetensors | model-0000N-of-0000M.safetensors + model.safetensors.index.json |
    pytorch_model.bin | teacher_checkpoint.pth      the weights under the library's own names
    config.json, preprocessor_config.json           as on a hub, where the library writes them
    golden.safetensors                              `tiles` u8 [2, side, side, 3], `embedding_last`,
                                                    `embedding_early`
    golden.json                                     `library`; `model`: what model.json says; `weights`: the
                                                    file to read; `note`

Tap `last` is after the final norm, `early` after block 0 without a norm, as the mean of the patch tokens. The
library first writes the files and then reads them back; the tokens are its own, computed in float64 from the
stored weights. Cases that are to be refused have `refused` in golden.json (words; the message has to contain one
of them) and no golden.safetensors.

LayerScale, norms, biases and registers are far from neutral, so that a forgotten one shows.
"""

import argparse
import json
import os
import shutil
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.layers import SwiGLU, SwiGLUPacked

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "crates/import/tests/golden/models"
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
WIDTH, HEADS, DEPTH = 32, 4, 2
LIMIT = 120_000  # bytes per case
TIMM = f"timm {timm.__version__}"
TRANSFORMERS = f"transformers {transformers.__version__}"
CASES = {}


def case(make):
    """A golden case, named after its function."""
    CASES[make.__name__] = make
    return make


@torch.no_grad()
def randomize(model, seed):
    """Fills every parameter so that each has an effect that shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        value = parameter.data
        noise = value.normal_(generator=generator)  # in place: the large models fill most of the memory
        if name.endswith(("gamma", "lambda1")):  # LayerScale, both signs
            noise.mul_(0.15).add_(0.5).mul_(torch.where(torch.arange(noise.shape[0]) % 5 == 0, -1.0, 1.0))
        elif "norm" in name.rsplit(".", 2)[-2:][0] and name.endswith("weight"):
            noise.mul_(0.2).add_(1)
        elif name.endswith(("_token", "_tokens", "pos_embed", "position_embeddings")):
            noise.mul_(0.5)
        elif value.ndim == 1:  # biases
            noise.mul_(0.2)
        else:  # kernels; queries and keys large enough that attention is not flat
            gain = 1.5 if any(part in name for part in ("qkv", "q_proj", "k_proj", "query", "key")) else 1.0
            noise.mul_(gain / value[0].numel() ** 0.5)


def stored(model, dtype):
    """The model with weights that `dtype` holds exactly."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(torch.float32)
    return model


def tiles_for(side, seed):
    """Two tiles of noise on slopes, with other means in R, G and B."""
    random = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, side)
    base = np.array([205.0, 140.0, 180.0])
    tiles = []
    for sign in (1, -1):
        image = base + 35 * sign * slope[:, None, None] * np.array([1.0, -0.5, 0.3]) + 25 * slope[None, :, None]
        tiles.append(np.clip(image + random.normal(0, 30, (side, side, 3)), 0, 255))
    return np.stack(tiles).round().astype(np.uint8)


def normalized(tiles, mean, std, dtype=torch.float64):
    """[n, 3, side, side], as every one of the libraries' preprocessing makes it."""
    x = torch.from_numpy(np.ascontiguousarray(tiles)).to(dtype) / 255
    x = (x - torch.tensor(mean, dtype=dtype)) / torch.tensor(std, dtype=dtype)
    return x.permute(0, 3, 1, 2).contiguous()


def pool(tokens, pooling, prefix):
    """`prefix`: class token and registers."""
    mean = tokens[:, prefix:].mean(1)
    if pooling == "class_token":
        return tokens[:, 0]
    return mean if pooling == "mean_patch_tokens" else torch.cat([tokens[:, 0], mean], 1)


@torch.inference_mode()
def tokens_after(forward, blocks, indices):
    """All tokens after the blocks `indices`, and what `forward` returns."""
    found = {}

    def keep(index):
        def hook(_module, _inputs, output):
            found[index] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [blocks[index].register_forward_hook(keep(index)) for index in indices]
    final = forward()
    for handle in handles:
        handle.remove()
    return found, final


def embeddings(early, last, taps, prefix):
    """`early`: tokens after the first block; `last`: tokens after the final norm."""
    tokens = {"last": last, "early": early}
    return {f"embedding_{t['name']}": pool(tokens[t["name"]], t["pooling"], prefix) for t in taps}


def taps(pooling, depth=DEPTH):
    return [
        {"name": "last", "block": depth - 1, "after_norm": True, "pooling": pooling},
        {"name": "early", "block": 0, "after_norm": False, "pooling": "mean_patch_tokens"},
    ]


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def finish(directory, library, overrides, tiles, outputs, weights=None, note=None):
    """golden.safetensors and golden.json."""
    tensors = {"tiles": torch.from_numpy(tiles)}
    tensors |= {name: value.to(torch.float32).contiguous() for name, value in outputs.items()}
    assert all(torch.isfinite(value.float()).all() for value in tensors.values())
    save_file(tensors, directory / "golden.safetensors")
    document = {"library": library, "weights": weights or ".", "model": overrides}
    write_json(directory / "golden.json", document | ({"note": note} if note else {}))


def refuse(directory, library, words, overrides=None, weights=None, note=None):
    document = {"library": library, "weights": weights or ".", "model": overrides or {}, "refused": words}
    write_json(directory / "golden.json", document | ({"note": note} if note else {}))


# ---------------------------------------------------------------------------------------------------- timm


def timm_config(architecture, arguments, side, global_pool="token", **pretrained):
    """config.json as timm's push_to_hf_hub writes it."""
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": arguments["embed_dim"],
        "global_pool": global_pool,
        "model_args": arguments,
        "pretrained_cfg": {
            "tag": "",
            "custom_load": False,
            "input_size": [3, side, side],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": IMAGENET[0],
            "std": IMAGENET[1],
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "apache-2.0",
        }
        | pretrained,
    }


def save_timm(directory, model, config, dtype, layout="safetensors"):
    """`state_dict` and config.json as they lie on a hub."""
    state = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    if layout == "safetensors":
        save_file(state, directory / "model.safetensors")
    elif layout == "bin":
        torch.save(state, directory / "pytorch_model.bin")
    else:
        save_sharded(directory, state, layout)
    write_json(directory / "config.json", config)


def save_sharded(directory, state, shards):
    """The layout of huggingface_hub's save_torch_state_dict, with `shards` files."""
    names = list(state)
    total = sum(value.numel() * value.element_size() for value in state.values())
    files, sizes = {}, [0] * shards
    for name in names:
        shard = min(sum(sizes) * shards // total, shards - 1)
        sizes[shard] += state[name].numel() * state[name].element_size()
        files[name] = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
    for file in sorted(set(files.values())):
        save_file({name: state[name] for name in names if files[name] == file}, directory / file, {"format": "pt"})
    write_json(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))},
    )


@torch.inference_mode()
def timm_outputs(model, tiles, mean, std, wanted):
    model = model.double().eval()
    x = normalized(tiles, mean, std)
    found, last = tokens_after(lambda: model.forward_features(x), model.blocks, [0])
    return embeddings(found[0], last, wanted, model.num_prefix_tokens)


def timm_case(
    directory,
    architecture,
    *,
    side,
    dtype=torch.float16,
    pooling="class_token",
    state_overrides=None,
    code=None,
    stored_side=None,
    layout="safetensors",
    note=None,
    pretrained=None,
    model_args=True,
    **arguments,
):
    """`arguments` are config.json's model_args, unless `model_args` is false; `code` is what a model card passes
    in Python instead, with `state_overrides` as our model.json states it; `stored_side` is the size of the stored
    `pos_embed`."""
    seed = zlib.crc32(directory.name.encode())
    arguments = {"img_size": side, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "mlp_ratio": 2.0} | arguments
    code = code or {}
    made = timm.create_model(
        architecture, num_classes=0, **arguments | {"img_size": stored_side or side}, **code
    )
    randomize(made, seed)
    config = timm_config(architecture, arguments, side, **(pretrained or {}))
    if not model_args:
        del config["model_args"]
        code = code | arguments
    save_timm(directory, made, config, dtype, layout)
    if isinstance(layout, int):  # timm reads no shards
        model = made
        stored(model, dtype)
    else:
        model = timm.create_model(f"local-dir:{directory}", pretrained=True, **code)
    cfg = config["pretrained_cfg"]
    wanted = taps(pooling)
    outputs = timm_outputs(model, tiles_for(side, seed), cfg["mean"], cfg["std"], wanted)
    if stored_side is None:  # loaded as made
        expected = timm_outputs(stored(made.float(), dtype), tiles_for(side, seed), cfg["mean"], cfg["std"], wanted)
        assert all(torch.equal(outputs[name], expected[name]) for name in outputs)
    overrides = (state_overrides or {}) | {"taps": wanted}
    finish(directory, TIMM, overrides, tiles_for(side, seed), outputs, note=note)
    return model


@case
def timm_plain(directory):
    # DINO's ViT-S/8: config.json as that of Lunit's ports.
    timm_case(
        directory,
        "vit_small_patch8_224",
        side=24,
        dtype=torch.float32,
        pretrained={"mean": [0.70322989, 0.53606487, 0.66096631], "std": [0.21716536, 0.26081574, 0.20723464]},
    )


@case
def timm_pytorch_bin(directory):
    timm_case(directory, "vit_small_patch16_224", side=32, layout="bin")


@case
def timm_layer_scale(directory):
    timm_case(directory, "vit_small_patch14_dinov2", side=28, init_values=1e-5, mlp_ratio=4.0)


@case
def timm_registers_no_embed_class(directory):
    timm_case(
        directory, "vit_small_patch14_reg4_dinov2", side=28, pooling="class_and_mean", reg_tokens=4, no_embed_class=True
    )


@case
def timm_registers_in_pos_embed(directory):
    # Virchow2: registers, and pos_embed covers class token and registers as well. Its 9 rows would also be 3 × 3
    # patches without them; img_size, and timm's default of no_embed_class, say that they are 5 + 2 × 2.
    timm_case(
        directory,
        "vit_huge_patch14_224",
        side=28,
        pooling="class_and_mean",
        init_values=1e-5,
        reg_tokens=4,
        mlp_ratio=5.3375,
        code={"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU},
        state_overrides={"mlp_layer": "SwiGLUPacked", "act_layer": "silu"},
        note="mlp_layer and act_layer are in the model card's Python, not in config.json",
    )


@case
def timm_swiglu_packed(directory):
    # The architecture's own defaults: SwiGLUPacked, SiLU; here in bfloat16.
    timm_case(
        directory,
        "vit_giant_patch14_reg4_dinov2",
        side=28,
        dtype=torch.bfloat16,
        mlp_ratio=2.66667 * 2,
        init_values=1e-5,
    )


@case
def timm_arguments_in_code(directory):
    # UNI2-h: config.json names an architecture of another width, depth and number of heads, and has no
    # model_args; all of them are in the model card's Python. Its 16 heads would divide the width as well.
    timm_case(
        directory,
        "vit_giant_patch14_224",
        side=28,
        model_args=False,
        code={"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU},
        state_overrides={"num_heads": HEADS, "mlp_layer": "SwiGLUPacked", "act_layer": "silu"},
        reg_tokens=8,
        no_embed_class=True,
        init_values=1e-5,
        mlp_ratio=2.66667 * 2,
        note="config.json has no model_args",
    )


@case
def timm_swiglu_separate(directory):
    timm_case(
        directory,
        "vit_small_patch8_224",
        side=24,
        mlp_ratio=2.5,
        code={"mlp_layer": SwiGLU, "act_layer": torch.nn.SiLU},
        state_overrides={"mlp_layer": "SwiGLU", "act_layer": "silu"},
    )


@case
def timm_no_qkv_bias(directory):
    timm_case(directory, "vit_small_patch8_224", side=32, qkv_bias=False, pooling="mean_patch_tokens")


@case
def timm_bfloat16(directory):
    timm_case(directory, "vit_small_patch16_224", side=48, dtype=torch.bfloat16)


@case
def timm_sharded(directory):
    timm_case(directory, "vit_small_patch8_224", side=24, dtype=torch.float32, layout=3, init_values=1e-5)


# In float32: timm rounds a resampled embedding to the stored type, which is a file's affair.
@case
def interpolation_timm_down(directory):
    timm_case(
        directory,
        "vit_small_patch14_dinov2",
        side=24,
        stored_side=56,
        dtype=torch.float32,
        patch_size=8,
        init_values=1e-5,
        state_overrides={"img_size": 24, "interpolation": "timm"},
    )


@case
def interpolation_timm_up(directory):
    timm_case(
        directory,
        "vit_small_patch14_reg4_dinov2",
        side=40,
        stored_side=32,
        dtype=torch.float32,
        patch_size=8,
        init_values=1e-5,
        state_overrides={"img_size": 40, "interpolation": "timm"},
    )


# ------------------------------------------------------------------------------------------- transformers


@torch.inference_mode()
def transformers_outputs(model, tiles, mean, std, wanted, interpolate=False):
    model = model.double().eval()
    x = normalized(tiles, mean, std)
    blocks = model.layers if hasattr(model, "layers") else model.encoder.layer
    extra = {"interpolate_pos_encoding": True} if interpolate else {}
    found, final = tokens_after(lambda: model(pixel_values=x, **extra), blocks, [0])
    prefix = 1 + getattr(model.config, "num_register_tokens", 0)
    return embeddings(found[0], final.last_hidden_state, wanted, prefix)


def transformers_case(
    directory, model, *, side, dtype=torch.float16, pooling="class_token", interpolation=None, weights=None, note=None
):
    """Saved by save_pretrained, which writes the names that are on the hub."""
    seed = zlib.crc32(directory.name.encode())
    randomize(model, seed)
    model.to(dtype).save_pretrained(directory)
    made = set(load_file(directory / "model.safetensors"))
    kind = model.config.model_type
    assert any("attention.attention.query" in name for name in made), f"not the hub's names: {sorted(made)[:8]}"
    loaded = type(model).from_pretrained(directory, dtype=torch.float32)
    write_json(
        directory / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": IMAGENET[0],
            "image_processor_type": "ViTImageProcessor" if kind == "vit" else "BitImageProcessor",
            "image_std": IMAGENET[1],
            "resample": 2 if kind == "vit" else 3,
            "rescale_factor": 1 / 255,
        }
        | (
            {"size": {"height": side, "width": side}}
            if kind == "vit"
            else {
                "crop_size": {"height": side, "width": side},
                "do_center_crop": True,
                "do_convert_rgb": True,
                "size": {"shortest_edge": side},
            }
        ),
    )
    wanted = taps(pooling)
    tiles = tiles_for(side, seed)
    outputs = transformers_outputs(loaded, tiles, *IMAGENET, wanted, interpolate=interpolation and kind == "vit")
    overrides = {"img_size": side, "interpolation": interpolation} if interpolation else {}
    finish(directory, TRANSFORMERS, overrides | {"taps": wanted}, tiles, outputs, weights, note)


def vit(image_size=24, **options):
    options = {"patch_size": 8, "intermediate_size": 2 * WIDTH} | options
    config = transformers.ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=image_size, **options
    )
    return transformers.ViTModel(config)  # with a pooler, as on the hub


def dinov2(image_size=24, registers=None, **options):
    options = {"patch_size": 8, "mlp_ratio": 2} | options
    shared = dict(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=image_size, **options
    )
    if registers is None:
        return transformers.Dinov2Model(transformers.Dinov2Config(**shared))
    config = transformers.Dinov2WithRegistersConfig(num_register_tokens=registers, **shared)
    return transformers.Dinov2WithRegistersModel(config)


@case
def transformers_vit(directory):
    # Phikon: ViT with a pooler that is not used, and layer_norm_eps 1e-12.
    transformers_case(directory, vit(), side=24)


@case
def transformers_vit_no_qkv_bias(directory):
    transformers_case(directory, vit(32, patch_size=16, qkv_bias=False, layer_norm_eps=1e-6), side=32)


@case
def transformers_dinov2(directory):
    transformers_case(directory, dinov2(32), side=32, pooling="class_and_mean")


@case
def transformers_dinov2_swiglu(directory):
    transformers_case(directory, dinov2(28, patch_size=14, mlp_ratio=4, use_swiglu_ffn=True), side=28)


@case
def transformers_dinov2_registers(directory):
    transformers_case(directory, dinov2(24, registers=4), side=24, dtype=torch.bfloat16)


@case
def transformers_dinov2_registers_swiglu(directory):
    transformers_case(directory, dinov2(24, registers=2, use_swiglu_ffn=True), side=24)


@case
def interpolation_transformers_vit_down(directory):
    transformers_case(directory, vit(56), side=24, interpolation="transformers")


@case
def interpolation_transformers_dinov2_down(directory):
    transformers_case(directory, dinov2(56), side=24, interpolation="transformers", note="no antialias")


@case
def interpolation_transformers_dinov2_up(directory):
    transformers_case(directory, dinov2(24), side=40, interpolation="transformers", note="no antialias")


@case
def interpolation_transformers_registers_down(directory):
    transformers_case(directory, dinov2(56, registers=4), side=24, interpolation="transformers", note="antialias")


# ----------------------------------------------------------------------------------- DINOv2's own code


def native(img_size=24, **options):
    """DINOv2's DinoVisionTransformer; without `--dinov2` these cases are skipped."""
    from dinov2.layers import MemEffAttention, NestedTensorBlock
    from dinov2.models.vision_transformer import DinoVisionTransformer
    from functools import partial

    options = {"patch_size": 8, "mlp_ratio": 2, "init_values": 1.0, "block_chunks": 0} | options
    return DinoVisionTransformer(
        img_size=img_size,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        block_fn=partial(NestedTensorBlock, attn_class=MemEffAttention),
        **options,
    )


@torch.inference_mode()
def native_outputs(model, tiles, mean, std, wanted):
    model = model.double().eval()
    x = normalized(tiles, mean, std)
    early = model.get_intermediate_layers(x, n=[0], norm=False)[0]  # patch tokens
    features = model.forward_features(x)
    last = torch.cat([features["x_norm_clstoken"][:, None], features["x_norm_patchtokens"]], 1)
    return embeddings(torch.cat([early[:, :1], early], 1), last, wanted, 1)


def native_case(directory, *, side, save, dtype=torch.float16, img_size=None, overrides=None, note=None, **options):
    seed = zlib.crc32(directory.name.encode())
    model = native(img_size or side, **options)
    randomize(model, seed)
    stored(model, dtype)
    weights = save(directory, {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()})
    tiles, wanted = tiles_for(side, seed), taps("class_token")
    outputs = native_outputs(model, tiles, *IMAGENET, wanted)
    stated = {"num_heads": HEADS, "mean": IMAGENET[0], "std": IMAGENET[1]} | (overrides or {})
    finish(directory, "DINOv2's own code", stated | {"taps": wanted}, tiles, outputs, weights, note)


def as_safetensors(prefix=""):
    def save(directory, state):
        save_file({prefix + name: value for name, value in state.items()}, directory / "model.safetensors")
        return "model.safetensors"

    return save


def as_checkpoint(directory, state):
    """DINOv2's teacher_checkpoint.pth: the backbone beside the heads of the training."""
    head = {
        "dino_head.mlp.0.weight": torch.ones(4, WIDTH),
        "dino_head.mlp.0.bias": torch.ones(4),
        "dino_head.last_layer.weight_g": torch.ones(8, 1),
        "dino_head.last_layer.weight_v": torch.ones(8, 4),
        "ibot_head.mlp.0.weight": torch.ones(4, WIDTH),
    }
    state = {f"backbone.{name}": value for name, value in state.items()} | head
    torch.save({"teacher": state}, directory / "teacher_checkpoint.pth")
    return "teacher_checkpoint.pth"


def with_heads(directory, state):
    """The same as one safetensors file, with both networks' names."""
    tensors = {f"teacher.backbone.{name}": value for name, value in state.items()}
    tensors |= {"teacher.dino_head.mlp.0.weight": torch.ones(4, WIDTH), "teacher.dino_head.mlp.0.bias": torch.ones(4)}
    save_file(tensors, directory / "model.safetensors")
    return "model.safetensors"


@case
def dinov2_native(directory):
    native_case(directory, side=24, save=as_safetensors())


@case
def dinov2_native_registers_swiglu(directory):
    native_case(
        directory,
        side=28,
        patch_size=14,
        mlp_ratio=4,
        num_register_tokens=4,
        ffn_layer="swiglufused",
        save=as_safetensors(),
    )


@case
def dinov2_native_teacher_prefix(directory):
    native_case(directory, side=24, num_register_tokens=4, save=with_heads)


@case
def dinov2_native_teacher_pth(directory):
    native_case(directory, side=24, save=as_checkpoint, note="a nested dictionary in a torch zip")


@case
def dinov2_native_chunks(directory):
    # block_chunks of DINOv2's training: blocks.CHUNK.BLOCK.…, the block counted over all chunks.
    native_case(directory, side=24, block_chunks=2, save=as_safetensors("backbone."))


@case
def interpolation_dinov2_down(directory):
    native_case(
        directory,
        side=24,
        img_size=56,
        save=as_safetensors(),
        overrides={"img_size": 24, "interpolation": "dinov2"},
        note="scale factor (n + 0.1) / m, no antialias: DINOv2's models without registers",
    )


@case
def interpolation_dinov2_up(directory):
    native_case(
        directory,
        side=40,
        img_size=24,
        save=as_safetensors(),
        overrides={"img_size": 40, "interpolation": "dinov2"},
        note="scale factor (n + 0.1) / m, no antialias: DINOv2's models without registers",
    )


@case
def interpolation_dinov2_registers_down(directory):
    native_case(
        directory,
        side=24,
        img_size=56,
        num_register_tokens=4,
        interpolate_antialias=True,
        interpolate_offset=0.0,
        save=as_safetensors(),
        overrides={"img_size": 24, "interpolation": "dinov2"},
        note="size, antialias: DINOv2's models with registers",
    )


# -------------------------------------------------------------------------------------------- to be refused


def refused_timm(directory, words, architecture, note, *, code=None, overrides=None, model_args=True, **arguments):
    shape = {"img_size": 16, "patch_size": 8, "embed_dim": WIDTH, "depth": 1, "num_heads": HEADS, "mlp_ratio": 2.0}
    arguments = shape | arguments
    model = timm.create_model(architecture, num_classes=0, **arguments, **(code or {}))
    randomize(model, 1)
    config = timm_config(architecture, arguments, arguments["img_size"])
    if not model_args:
        del config["model_args"]
    save_timm(directory, model, config, torch.float16)
    refuse(directory, TIMM, words, (overrides or {}) | {"taps": taps("class_token", 1)}, note=note)


@case
def refused_deit_distilled(directory):
    refused_timm(directory, ["dist_token"], "deit_tiny_distilled_patch16_224", "a second class token")


@case
def refused_clip_pre_norm(directory):
    refused_timm(directory, ["norm_pre"], "vit_base_patch16_clip_224", "a norm before the blocks")


@case
def refused_qk_norm(directory):
    refused_timm(directory, ["q_norm", "k_norm"], "vit_small_patch16_224", "normalised queries and keys", qk_norm=True)


@case
def refused_attention_norm(directory):
    refused_timm(
        directory, ["attn.norm", "mlp.norm"], "vit_small_patch16_224", "norms inside attention and MLP",
        scale_attn_norm=True, scale_mlp_norm=True,
    )  # fmt: skip


@case
def refused_rms_norm(directory):
    refused_timm(
        directory,
        ["norm1.bias", "patch_embed.norm", "RmsNorm"],
        "aimv2_large_patch14_224",
        "AIMv2: RmsNorm, so norms have no bias; no class token",
    )


@case
def refused_fc_norm(directory):
    refused_timm(
        directory, ["fc_norm"], "vit_small_patch16_224", "the final norm after pooling: no `norm`", global_pool="avg"
    )


@case
def refused_heads_of_another_width(directory):
    refused_timm(
        directory,
        ["num_heads"],
        "vit_giant_patch14_224",
        "the architecture's 16 heads belong to 1408 wide and 40 deep; the weights are not that",
        model_args=False,
    )


@case
def refused_geglu_packed(directory):
    # SwiGLUPacked without act_layer: timm's Block passes its own default, so the gate is GELU.
    refused_timm(
        directory,
        ["act_layer", "GELU", "gelu"],
        "vit_huge_patch14_224",
        "a packed gated MLP whose gate is GELU",
        code={"mlp_layer": SwiGLUPacked},
        overrides={"mlp_layer": "SwiGLUPacked", "act_layer": "gelu"},
    )


@case
def refused_gate_not_stated(directory):
    # Virchow without its model card: fc1 is twice as wide as fc2 reads, and nothing says with which gate.
    refused_timm(
        directory,
        ["act_layer", "mlp_layer"],
        "vit_huge_patch14_224",
        "a packed gated MLP; neither config.json nor model.json says which gate",
        code={"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU},
    )


@case
def refused_quick_gelu(directory):
    # Nothing in the weights shows it: config.json must be read.
    model = vit(hidden_act="quick_gelu")
    randomize(model, 1)
    model.half().save_pretrained(directory)
    refuse(directory, TRANSFORMERS, ["quick_gelu"], {"taps": taps("class_token")}, note="only config.json tells")


@case
def refused_pickle(directory):
    # An object that is no tensor: the file's pickle names argparse.Namespace.
    state = {"cls_token": torch.zeros(1, 1, 4)}
    torch.save({"model": state, "args": argparse.Namespace(lr=1.0)}, directory / "checkpoint.pth")
    refuse(
        directory, f"torch {torch.__version__.split('+')[0]}", ["patch_embed.proj.weight"], weights="checkpoint.pth",
        note="read without ever making the object, and refused for what is missing",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ the rest


def check_interpolations_differ():
    """What the cases are for: the variants must not be within the tolerance of each other."""
    import torch.nn.functional as F

    torch.manual_seed(0)
    grid = torch.randn(1, 8, 7, 7)
    for n in (3, 10):
        variants = [
            F.interpolate(grid, size=(n, n), mode="bicubic", antialias=True),
            F.interpolate(grid, size=(n, n), mode="bicubic", align_corners=False),
            F.interpolate(grid, scale_factor=((n + 0.1) / 7,) * 2, mode="bicubic"),
        ]
        for i, a in enumerate(variants):
            for b in variants[:i]:
                assert (1 - F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) > 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dinov2", type=Path, help="a checkout of github.com/facebookresearch/dinov2")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", help="cases whose name contains this")
    arguments = parser.parse_args()
    os.environ["XFORMERS_DISABLED"] = "1"
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if arguments.dinov2:
        sys.path.insert(0, str(arguments.dinov2))
    check_interpolations_differ()
    for name, make in CASES.items():
        if arguments.only and arguments.only not in name:
            continue
        if "dinov2" in name.split("_")[:2] and not arguments.dinov2:
            print(f"skip {name}: --dinov2 is not given")
            continue
        directory = arguments.out / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        make(directory)
        size = sum(path.stat().st_size for path in directory.iterdir())
        print(f"{size:7} {name}: {', '.join(sorted(path.name for path in directory.iterdir()))}", flush=True)
        assert size < LIMIT, f"{name}: {size} bytes"


if __name__ == "__main__":
    main()
