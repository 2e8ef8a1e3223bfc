"""The student: a plain timm VisionTransformer, so that its weights carry timm's names."""
import timm
import torch

WIDTH, DEPTH, HEADS, PATCH, HIDDEN = 384, 3, 6, 14, 1344
GRID = 224 // PATCH
TAPS = [  # block counted from 0; all are means over the patch tokens
    {"name": "block1", "block": 0, "after_norm": False, "pooling": "mean_patch_tokens"},
    {"name": "block2", "block": 1, "after_norm": False, "pooling": "mean_patch_tokens"},
    {"name": "last", "block": 2, "after_norm": True, "pooling": "mean_patch_tokens"},
]


def student(hidden=HIDDEN):
    return timm.models.VisionTransformer(img_size=224, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
                                         num_heads=HEADS, mlp_ratio=hidden / WIDTH, num_classes=0)


def embed_input(m, x):
    x = m.patch_embed(x)
    return torch.cat([m.cls_token.expand(len(x), -1, -1), x], 1) + m.pos_embed


def tokens(m, x):
    """[n, 1 + patches, width] after the final norm."""
    return m.norm(m.blocks(embed_input(m, x)))


@torch.no_grad()
def taps(m, x):
    """One pooled vector per tap."""
    out, h = {}, embed_input(m, x)
    for i, block in enumerate(m.blocks):
        h = block(h)
        for t in TAPS:
            if t["block"] == i:
                out[t["name"]] = (m.norm(h) if t["after_norm"] else h)[:, 1:].mean(1)
    return out


def round_to_half(m):
    """The weights as they will be stored: float16 values, computed with in float32."""
    for p in m.parameters():
        p.data = p.data.half().float()
    return m
