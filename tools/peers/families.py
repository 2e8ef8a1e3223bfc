"""Imports pathology foundation models at their published shapes, and compares the bundles with the library that
the models were published for. The published weights are mostly behind a registration, so these are random: what
is tested is that names, config.json and files as they lie on the hub are read as timm and transformers read them.
Run by hand, because torch is several gigabytes and the largest models have 1.1 billion parameters.

    pip install torch timm transformers safetensors numpy pillow
    python tools/peers/families.py --coverslip target/release/coverslip
    python tools/peers/families.py --only virchow --depth 2        # quick

For each family: the model is made from its published config, filled with random weights (LayerScale, norms,
biases and registers far from neutral, so that a forgotten one shows), written as on the hub, read back by the
library, and run in float64. `coverslip bundle build` reads the same files, `bundle run` computes the same tiles.

The figure is 1 - cosine, in float64, the worst of all tiles. A bundle computes in float32, whose rounding gives
about 1e-12 over 40 blocks; a forgotten bias, another gate, another order of tokens or another interpolation gives
more than 1e-6. The tolerance of 1e-9 lies between them; it is a relative error of 5e-5.
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.layers import SwiGLUPacked

TOOLS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOOLS / "oracle"), str(TOOLS / "goldens")]
import models as goldens  # noqa: E402
import tensors  # noqa: E402
from oracle import EMBEDDING, ROOT, find_coverslip, one_minus_cosine, real_tiles  # noqa: E402

IMAGENET = goldens.IMAGENET
BIOPTIMUS = [0.707223, 0.578729, 0.703617], [0.211883, 0.230117, 0.177517]
HIBOU = [0.7068, 0.5755, 0.722], [0.195, 0.2316, 0.1816]
LUNIT = [0.70322989, 0.53606487, 0.66096631], [0.21716536, 0.26081574, 0.20723464]
HALF = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
STATED_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
SIDE = 224


@dataclass
class Family:
    """One published model. What config.json does not say is in `code` (what the card passes in Python) and in
    `stated` (the same in our model.json)."""

    hub: str
    pooling: str
    normalization: tuple = IMAGENET
    stated: dict = field(default_factory=dict)
    file: str = "model.safetensors"


@dataclass
class Timm(Family):
    architecture: str = ""
    model_args: dict | None = None
    code: dict = field(default_factory=dict)
    pretrained_cfg: dict = field(default_factory=dict)
    native: bool = False  # DINOv2's names and nesting, no config.json
    stored_side: int = SIDE

    def prepare(self, directory, depth, seed):
        """Writes the files; returns what --weights gets, and the model as timm reads it."""
        arguments = dict(self.model_args) if self.model_args is not None else None
        if depth:
            arguments = (arguments or {}) | {"depth": depth}
        code = {key: value for key, value in self.code.items() if key != "depth" or not depth}
        options = {"num_classes": 0} | (arguments or {}) | code | {"img_size": self.stored_side}
        made = timm.create_model(self.architecture, **options)
        goldens.randomize(made, seed)
        state = made.state_dict()
        if self.native:
            return self.prepare_native(directory, made, state)
        config = {
            "architecture": self.architecture,
            "num_classes": 0,
            "num_features": made.num_features,
            "global_pool": (arguments or {}).get("global_pool", "token"),
        }
        if arguments is not None:
            config["model_args"] = arguments
        mean, std = IMAGENET if "mean" in self.stated else self.normalization
        config["pretrained_cfg"] = {
            "custom_load": False,
            "input_size": [3, self.stored_side, self.stored_side],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": mean,
            "std": std,
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        } | self.pretrained_cfg
        goldens.write_json(directory / "config.json", config)
        if self.file.endswith(".safetensors"):
            save_file(state, directory / self.file)
        else:
            torch.save(state, directory / self.file)
        del made, state
        gc.collect()
        return directory, timm.create_model(f"local-dir:{directory}", pretrained=True, **code)

    def prepare_native(self, directory, model, state):
        state = {
            "backbone." + name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
            if "mlp_layer" in self.code
            else "backbone." + name: value
            for name, value in state.items()
        }
        width = model.num_features
        state["backbone.mask_token"] = torch.ones(1, width)
        for head in ("dino_head", "ibot_head"):
            state |= {f"{head}.mlp.0.weight": torch.ones(8, width), f"{head}.last_layer.weight_g": torch.ones(4, 1)}
        torch.save({"teacher": state}, directory / self.file)
        # timm's own reading of DINOv2's names.
        read = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        filtered = timm.models.vision_transformer.checkpoint_filter_fn(read, model)
        model.load_state_dict(filtered, strict=True)
        return directory / self.file, model

    def outputs(self, model, tiles, wanted):
        return goldens.timm_outputs(model, tiles, *self.normalization, wanted)

    def depth_of(self, model):
        return len(model.blocks)


@dataclass
class Transformers(Family):
    config: dict = field(default_factory=dict)
    registers: int = 0
    published: dict = field(default_factory=dict)  # config.json's fields that our transformers class lacks

    def prepare(self, directory, depth, seed):
        config = dict(self.config) | ({"num_hidden_layers": depth} if depth else {})
        if config["model_type"] == "vit":
            made = transformers.ViTModel(transformers.ViTConfig(**config))
        elif self.registers:
            options = {key: value for key, value in config.items() if key != "model_type"}
            made = transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(num_register_tokens=self.registers, **options)
            )
        else:
            made = transformers.Dinov2Model(transformers.Dinov2Config(**config))
        kind = type(made)
        goldens.randomize(made, seed)
        made.save_pretrained(directory, max_shard_size="10GB")
        del made
        gc.collect()
        model = kind.from_pretrained(directory, dtype=torch.float32)
        # config.json as published, not as this version of transformers writes it.
        goldens.write_json(directory / "config.json", config | self.published)
        if "mean" not in self.stated:
            processor = {"crop_size": {"height": SIDE, "width": SIDE}, "do_center_crop": True, "do_normalize": True}
            processor |= {"do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255, "resample": 3}
            processor |= {"image_mean": self.normalization[0], "image_std": self.normalization[1]}
            processor |= {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": SIDE}}
            goldens.write_json(directory / "preprocessor_config.json", processor)
        return directory, model

    def outputs(self, model, tiles, wanted):
        return goldens.transformers_outputs(model, tiles, *self.normalization, wanted)

    def depth_of(self, model):
        return model.config.num_hidden_layers


def mean_std(values):
    return {"mean": values[0], "std": values[1]}


def dinov2_config(width, layers, heads, patch, side, swiglu, **more):
    return {
        "architectures": ["Dinov2Model"],
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": width,
        "image_size": side,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
        "layerscale_value": 1.0,
        "mlp_ratio": 4,
        "model_type": "dinov2",
        "num_attention_heads": heads,
        "num_channels": 3,
        "num_hidden_layers": layers,
        "patch_size": patch,
        "qkv_bias": True,
        "use_swiglu_ffn": swiglu,
    } | more


PHIKON = {
    "architectures": ["ViTModel"],
    "attention_probs_dropout_prob": 0.0,
    "encoder_stride": 16,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 768,
    "image_size": 224,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "model_type": "vit",
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "qkv_bias": True,
}
VIRCHOW = {
    "img_size": 224,
    "init_values": 1e-5,
    "num_classes": 0,
    "mlp_ratio": 5.3375,
    "global_pool": "",
    "dynamic_img_size": True,
}
UNI2_H = {
    "img_size": 224,
    "patch_size": 14,
    "depth": 24,
    "num_heads": 24,
    "init_values": 1e-5,
    "embed_dim": 1536,
    "mlp_ratio": 2.66667 * 2,
    "num_classes": 0,
    "no_embed_class": True,
    "reg_tokens": 8,
    "dynamic_img_size": True,
} | SWIGLU
GIGAPATH = {
    "img_size": 224,
    "in_chans": 3,
    "patch_size": 16,
    "embed_dim": 1536,
    "depth": 40,
    "num_heads": 24,
    "init_values": 1e-5,
    "mlp_ratio": 5.33334,
    "num_classes": 0,
}
H0_MINI = {
    "img_size": 224,
    "init_values": 1e-5,
    "reg_tokens": 4,
    "mlp_ratio": 5.33334,
    "global_pool": "",
    "dynamic_img_size": True,
}


def hibou(width, layers, heads):
    own = {"architectures": ["Dinov2ModelWithRegisters"], "num_register_tokens": 4, "model_type": "dinov2"}
    own["auto_map"] = {
        "AutoConfig": "configuration_dinov2.Dinov2Config",
        "AutoModel": "modeling_dinov2.Dinov2ModelWithRegisters",
    }
    return Transformers(
        "histai/hibou",
        "class_token",
        HIBOU,
        config=dinov2_config(width, layers, heads, 14, 224, True),
        registers=4,
        published=own,
    )


def dinobloom(architecture, width, heads, **code):
    """The authors' file: {"teacher": {"backbone.…", "dino_head.…", "ibot_head.…"}}."""
    return Timm(
        "zenodo.org/records/10908163",
        "class_token",
        stated={"num_heads": heads} | mean_std(IMAGENET),
        file="DinoBloom.pth",
        architecture=architecture,
        native=True,
        code=code,
    )


def kaiko(architecture):
    return Timm(
        "1aurent/….kaiko_ai_towards_large_pathology_fms",
        "class_token",
        HALF,
        stated=mean_std(HALF),
        architecture=architecture,
        code={"dynamic_img_size": True},
    )


def lunit(architecture, file):
    return Timm("1aurent/….lunit_dino", "class_token", LUNIT, architecture=architecture, file=file)


FAMILIES = {
    "uni": Timm(
        "MahmoodLab/UNI",
        "class_token",
        file="pytorch_model.bin",
        architecture="vit_large_patch16_224",
        code={"init_values": 1e-5, "dynamic_img_size": True},
    ),
    "uni2-h": Timm(
        "MahmoodLab/UNI2-h",
        "class_token",
        file="pytorch_model.bin",
        architecture="vit_giant_patch14_224",
        code=UNI2_H,
        stated={"num_heads": 24} | STATED_SWIGLU,
    ),
    "virchow": Timm(
        "paige-ai/Virchow",
        "class_and_mean",
        architecture="vit_huge_patch14_224",
        model_args=VIRCHOW,
        code=SWIGLU,
        stated=STATED_SWIGLU,
    ),
    "virchow2": Timm(
        "paige-ai/Virchow2",
        "class_and_mean",
        architecture="vit_huge_patch14_224",
        model_args=VIRCHOW | {"reg_tokens": 4},
        code=SWIGLU,
        stated=STATED_SWIGLU,
        pretrained_cfg={"tag": "virchow_v2", "fixed_input_size": False},
    ),
    "h-optimus-0": Timm(
        "bioptimus/H-optimus-0",
        "class_token",
        BIOPTIMUS,
        file="pytorch_model.bin",
        architecture="vit_giant_patch14_reg4_dinov2",
        code={"init_values": 1e-5, "dynamic_img_size": False},
    ),
    "h-optimus-1": Timm(
        "bioptimus/H-optimus-1",
        "class_token",
        BIOPTIMUS,
        architecture="vit_giant_patch14_reg4_dinov2",
        code={"init_values": 1e-5, "dynamic_img_size": False},
    ),
    "h0-mini": Timm(
        "bioptimus/H0-mini",
        "class_and_mean",
        BIOPTIMUS,
        architecture="vit_base_patch14_reg4_dinov2",
        model_args=H0_MINI,
        code=SWIGLU,
        stated=STATED_SWIGLU,
    ),
    "gigapath": Timm(
        "prov-gigapath/prov-gigapath",
        "class_token",
        file="pytorch_model.bin",
        architecture="vit_giant_patch14_dinov2",
        model_args=GIGAPATH,
    ),
    "phikon": Transformers("owkin/phikon", "class_token", config=PHIKON),
    "phikon-v2": Transformers("owkin/phikon-v2", "class_token", config=dinov2_config(1024, 24, 16, 16, 224, False)),
    "midnight": Transformers(
        "kaiko-ai/midnight",
        "class_and_mean",
        HALF,
        stated=mean_std(HALF),  # there is no preprocessor_config.json
        config=dinov2_config(1536, 40, 24, 14, 224, True),
    ),
    "hibou-b": hibou(768, 12, 12),
    "hibou-l": hibou(1024, 24, 16),
    "kaiko-vits16": kaiko("vit_small_patch16_224"),
    "kaiko-vits8": kaiko("vit_small_patch8_224"),
    "kaiko-vitb16": kaiko("vit_base_patch16_224"),
    "kaiko-vitb8": kaiko("vit_base_patch8_224"),
    "kaiko-vitl14": Timm(
        "1aurent/vit_large_patch14_reg4_224.kaiko_ai_towards_large_pathology_fms",
        "class_token",
        HALF,
        stated=mean_std(HALF) | {"img_size": SIDE, "interpolation": "timm"},
        architecture="vit_large_patch14_reg4_dinov2",
        code={"dynamic_img_size": True},
        stored_side=518,
    ),
    "lunit-vits16": lunit("vit_small_patch16_224", "model.safetensors"),
    "lunit-vits8": lunit("vit_small_patch8_224", "model.safetensors"),
    "dinobloom-s": dinobloom("vit_small_patch14_dinov2", 384, 6),
    "dinobloom-b": dinobloom("vit_base_patch14_dinov2", 768, 12),
    "dinobloom-l": dinobloom("vit_large_patch14_dinov2", 1024, 16),
    "dinobloom-g": dinobloom("vit_giant_patch14_dinov2", 1536, 24, **SWIGLU),
    # Not pathology; trained at 518 px and used at 224 px, as their preprocessor_config.json says.
    "dinov2-base": Transformers(
        "facebook/dinov2-base",
        "class_token",
        stated={"img_size": SIDE, "interpolation": "transformers"},
        config=dinov2_config(768, 12, 12, 14, 518, False),
    ),
    "dinov2-with-registers-base": Transformers(
        "facebook/dinov2-with-registers-base",
        "class_token",
        stated={"img_size": SIDE, "interpolation": "transformers"},
        config=dinov2_config(768, 12, 12, 14, 518, False),
        registers=4,
        published={
            "architectures": ["Dinov2WithRegistersModel"],
            "model_type": "dinov2_with_registers",
            "num_register_tokens": 4,
        },
    ),
}


def write_sae(directory, width, seed):
    """A small random TopK SAE in SAELens' files, and figures as its trainer would report them."""
    random = np.random.default_rng(seed)
    directory.mkdir()
    d_sae, k = 64, 8
    tensors.save(
        directory / "sae_weights.safetensors",
        {
            "W_enc": random.normal(0, width**-0.5, (width, d_sae)).astype(np.float32),
            "b_enc": random.normal(0, 0.1, d_sae).astype(np.float32),
            "W_dec": random.normal(0, d_sae**-0.5, (d_sae, width)).astype(np.float32),
            "b_dec": random.normal(0, 0.1, width).astype(np.float32),
        },
    )
    goldens.write_json(
        directory / "cfg.json",
        {
            "architecture": "topk",
            "d_in": width,
            "d_sae": d_sae,
            "k": k,
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "rescale_acts_by_decoder_norm": False,
            "dtype": "float32",
        },
    )
    reference = {"mean": [0.0] * width, "mean_squared_distance": 1.0, "n": 1000}
    reference["error_quantiles"] = {"0.5": 0.5, "0.9": 0.9, "0.99": 1.0}
    goldens.write_json(directory.parent / "metrics.json", {"reference": reference})


def make_tiles(data, count, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
    real = real_tiles(data, SIDE, count)
    return noise if real is None else np.concatenate([noise, real])


def coverslip(command, *arguments):
    result = subprocess.run([command, "bundle", *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"bundle {arguments[0]}: {(result.stderr or result.stdout).strip()}")


def check(name, family, arguments, work):
    """1 - cosine per tap."""
    seed = sum(name.encode())
    hub = work / "hub"
    hub.mkdir()
    weights, model = family.prepare(hub, arguments.depth, seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    wanted = goldens.taps(family.pooling, family.depth_of(model))
    tiles = make_tiles(arguments.data, arguments.tiles, seed)
    expected = {key: value.numpy() for key, value in family.outputs(model, tiles, wanted).items()}
    del model
    gc.collect()

    goldens.write_json(work / "model.json", family.stated | {"taps": wanted, "sae_tap": "last"})
    write_sae(work / "sae", expected["embedding_last"].shape[1], seed)
    tensors.save(work / "tiles.safetensors", {"tiles": tiles})
    coverslip(
        arguments.coverslip, "build", "--weights", weights, "--model", work / "model.json", "--sae", work / "sae",
        "--tiles", work / "tiles.safetensors", "--metrics", work / "metrics.json", "--mpp", 0.5,
        "--licence", "CC0-1.0", "--source", f"random weights in the shape of {family.hub}", "--name", name,
        "--out", work / "bundle",
    )  # fmt: skip
    shutil.rmtree(hub)
    output = work / "outputs.safetensors"
    coverslip(
        arguments.coverslip, "run", work / "bundle", "--tiles", work / "tiles.safetensors", "--out", output
    )
    found = tensors.load(output)
    return parameters, {tap["name"]: worst(expected, found, tap) for tap in wanted}


def worst(expected, found, tap):
    key = f"embedding_{tap['name']}"
    if expected[key].shape != found[key].shape:
        raise RuntimeError(f"{key}: expected {expected[key].shape}, found {found[key].shape}")
    return one_minus_cosine(expected[key], found[key])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coverslip", type=Path, default=find_coverslip(), help="the built command")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="where he_tiles/*.png are")
    parser.add_argument("--only", help="families whose name contains this")
    parser.add_argument("--depth", type=int, help="blocks, instead of all (the widths stay)")
    parser.add_argument("--tiles", type=int, default=2, help="random tiles, and as many real ones")
    parser.add_argument("--work", type=Path, help="where to write: up to 15 GB [default: the temporary directory]")
    parser.add_argument("--peer-only", action="store_true", help="write and read the files by the library alone")
    arguments = parser.parse_args()
    if arguments.coverslip is None and not arguments.peer_only:
        sys.exit("no built command found; run `cargo build --release -p coverslip-lab` or pass --coverslip")
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}")
    failed = False
    for name, family in FAMILIES.items():
        if arguments.only and arguments.only not in name:
            continue
        started = time.time()
        with tempfile.TemporaryDirectory(dir=arguments.work) as work:
            try:
                if arguments.peer_only:
                    peer_only(name, family, arguments, Path(work))
                    continue
                parameters, figures = check(name, family, arguments, Path(work))
            except RuntimeError as error:
                failed = True
                print(f"FAIL {name}: {error}", flush=True)
                continue
        ok = all(value <= EMBEDDING for value in figures.values())
        failed |= not ok
        texts = ", ".join(f"{tap} {value:.1e}" for tap, value in figures.items())
        print(
            f"{'ok  ' if ok else 'FAIL'} {name}: {family.file}, {parameters / 1e6:.1f} M parameters: "
            f"1-cos {texts} (≤ {EMBEDDING:g}), {time.time() - started:.0f} s",
            flush=True,
        )
        gc.collect()
    sys.exit(failed)


def peer_only(name, family, arguments, work):
    """What the files hold, for a look at names and shapes."""
    weights, model = family.prepare(work, arguments.depth, 1)
    files = ", ".join(sorted(path.name for path in work.iterdir()))
    wanted = goldens.taps(family.pooling, family.depth_of(model))
    outputs = family.outputs(model, make_tiles(arguments.data, 1, 1), wanted)
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    names = [key for key in load_file(weights / "model.safetensors")] if (work / "model.safetensors").exists() else []
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {parameters / 1e6:.1f} M parameters, {len(names) or '?'} tensors, {files}, {shapes}", flush=True)


if __name__ == "__main__":
    main()
