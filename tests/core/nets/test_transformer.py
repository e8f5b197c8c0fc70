"""The patch transformer: which features each token holds, and which shapes it refuses."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.nets.transformer import Patches, PatchTransformerConfig, patch_indices
from maquette.core.spaces import Field, Product, Sequence, Vector, size

SPACE = Product(
    parts={
        "a": Field(channels=1, grid=(4, 6)),
        "v": Vector(dim=3),
        "b": Field(channels=2, grid=(6, 2), periodic=(True, False)),
    }
)


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        (Field(channels=2, grid=(4, 6)), (2, 3)),
        (Field(channels=1, grid=(8,)), (4,)),
        (Field(channels=3, grid=(2, 4, 6)), (1, 2, 3)),
    ],
)
def test_patches_are_contiguous_blocks(field, patch):
    x = torch.arange(float(size(field)))
    patches = x[patch_indices(field, patch, 0)]
    image = x.reshape(field.shape)
    block = image[(slice(None), *(slice(step) for step in patch))]
    assert torch.equal(patches[0], block.flatten())
    last = image[(slice(None), *(slice(-step, None) for step in patch))]
    assert torch.equal(patches[-1], last.flatten())
    assert torch.equal(patches.flatten().sort().values, x)


def test_embedding_and_unembedding_keep_the_order_of_features():
    indices = [
        patch_indices(Field(channels=1, grid=(2, 4)), (2, 2), 0),
        patch_indices(Vector(dim=4), (), 8),
        torch.arange(12, 15)[None],
    ]
    patches = Patches(indices, width=4)
    assert patches.count == 4
    assert [(g.parts, g.tokens, g.features) for g in patches.groups] == [(1, 2, 4), (1, 1, 4), (1, 1, 3)]
    for in_proj, out_proj in zip(patches.in_proj, patches.out_proj, strict=True):
        eye = torch.eye(4)[: in_proj.shape[1]]
        in_proj.data.copy_(eye)
        out_proj.data.copy_(eye.T)
    x = torch.randn(3, 15)
    torch.testing.assert_close(patches.unembed(patches.embed(x)), x)


def test_equal_parts_share_one_product_but_not_their_weights():
    space = Product(parts={name: Field(channels=1, grid=(4,)) for name in "abc"})
    net = PatchTransformerConfig(width=8, depth=1, heads=2, patch=(2,)).build(space)
    assert [(g.parts, g.tokens, g.features) for g in net.patches.groups] == [(3, 2, 2)]
    torch.nn.init.normal_(net.patches.out_proj[0])
    tokens = torch.ones(1, 6, 8)
    a, b, c = net.patches.unembed(tokens).split(4, dim=1)
    assert not torch.allclose(a, b)
    assert not torch.allclose(b, c)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"patch": (3, 2)}, r'patches of \[3, 2\] do not tile part "a", a grid of \[4, 6\]; give one divisor per axis'),
        ({"patch": (2,)}, r"patches of \[2\] do not tile"),
        ({"patch": {"a": (2, 2)}}, r'say how part "b", a grid of \[6, 2\], is cut'),
        ({"patch": {"aa": (2, 2)}}, r'there is no part "aa"\. Did you mean "a"\?'),
        ({"patch": (2, 2), "width": 10, "heads": 4}, "4 heads do not divide a width of 10"),
    ],
)
def test_impossible_transformers_are_refused(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PatchTransformerConfig(**config).build(SPACE)


def test_sequences_are_refused():
    with pytest.raises(ConfigError, match="expected vectors and fields, found the sample, a sequence"):
        PatchTransformerConfig().build(Sequence(length=3, channels=1))
