"""A genotype of a kind of its own, the space that draws it, and a mutation: one file, no graph.

A chain is a row of blocks, each of some convolutions of one width and kernel; a pool stands between
blocks. That is all it can say, so a chain is shorter than the graph of its network, and every edit
of it is legal. Try it: nasgen search --data digits --plugin third_kind.py --set space.name=chain
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import nasgen
from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import tags
from nasgen.search_spaces.decode import decode

KERNELS = (1, 3, 5)
WIDTHS = (8, 16, 24, 32)
MOST_DEEP = 3  # convolutions of a block


@dataclass(frozen=True)
class Block:
    """`depth` convolutions with `width` channels each; `tag` is the block's gene tag."""

    tag: int
    width: int
    kernel: int
    depth: int


@nasgen.genotype("chain", summary="a row of blocks of convolutions")
@dataclass(frozen=True)
class Chain(nasgen.Genotype):
    """Blocks in the order in which data pass through them."""

    kind = "chain"
    blocks: tuple[Block, ...]

    @property
    def key(self):
        """Equal for equal blocks, whatever their tags."""
        return "chain:" + ";".join(f"{b.width}x{b.kernel}x{b.depth}" for b in self.blocks)

    @property
    def tags(self):
        """Gene tags of the blocks: what they share tells that two chains are relatives."""
        return frozenset(block.tag for block in self.blocks)

    def mint(self, root_seed, trial):
        """Return the chain with final gene tags."""
        final = (replace(b, tag=tags.mint(b.tag, root_seed, trial)) for b in self.blocks)
        return Chain(tuple(final))

    def outline(self):
        """Return a node a block, for drawings and tables."""
        blocks = (
            nasgen.Node(b.tag, "block", {"kernel": b.kernel, "channels": b.width, "depth": b.depth})
            for b in self.blocks
        )
        nodes = (nasgen.Node(0, "input"), *blocks, nasgen.Node(0, "output"))
        return nasgen.Outline(nodes, tuple((i, i + 1) for i in range(len(nodes) - 1)))

    def to_json(self):
        """Return [tag, width, kernel, depth] of each block."""
        return {"kind": self.kind, "blocks": [list(vars(b).values()) for b in self.blocks]}

    @classmethod
    def from_json(cls, data):
        """Read what `to_json` wrote."""
        try:
            return cls(tuple(Block(*map(int, block)) for block in data["blocks"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IllegalGenotypeError(f"expected the 'blocks' of a chain ({error!r}).") from None


@nasgen.search_space("chain", summary="1 to `max_blocks` blocks, each of 1 to 3 convolutions")
@dataclass(frozen=True)
class ChainSpace(nasgen.SearchSpace):
    """Option: `max_blocks`, from 1."""

    genotype = Chain
    ranks = (3,)  # it reads images (C, H, W)
    max_blocks: int = 4

    def sample(self, rng):
        """Draw the number of blocks, then each of them."""
        n = int(rng.integers(1, self.max_blocks + 1))
        return Chain(tuple(self.block(tags.PROVISIONAL + i, rng) for i in range(n)))

    def block(self, tag, rng):
        """Draw a block."""
        width, kernel = (values[int(rng.integers(len(values)))] for values in (WIDTHS, KERNELS))
        return Block(tag, width, kernel, 1 + int(rng.integers(MOST_DEEP)))

    def problems(self, genotype):
        """Return what is wrong with the number of blocks or with one of them."""
        n, most = len(genotype.blocks), self.max_blocks
        wrong = [] if 1 <= n <= most else [f"expected 1..{most} blocks, got {n}."]
        for i, b in enumerate(genotype.blocks):
            if b.width not in WIDTHS or b.kernel not in KERNELS or not 1 <= b.depth <= MOST_DEEP:
                wrong.append(
                    f"block {i}: expected a width of {WIDTHS}, a kernel of {KERNELS} and a depth "
                    f"of 1..{MOST_DEEP}, got {b.width}, {b.kernel}, {b.depth}."
                )
        if len(genotype.tags) < n:
            wrong.append("two blocks carry the same gene tag; each needs its own.")
        return wrong

    def adopt(self, genotype):
        """Return a chain from elsewhere; its blocks get new gene tags."""
        blocks = super().adopt(genotype).blocks
        return Chain(tuple(replace(b, tag=tags.PROVISIONAL + i) for i, b in enumerate(blocks)))

    def blueprint(self, genotype, input_shape, n_classes):
        """Return the network: the decoder of graphs reads the convolutions and pools in a row.

        Tags of layers follow from their block's, so that a child inherits the weights of each block
        that it has from its parent.
        """
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError("the chain is not legal here: " + " ".join(wrong))
        row = [nasgen.Vertex(tags.derived("chain", "input"), "input")]
        for i, b in enumerate(genotype.blocks):
            if i:
                row.append(nasgen.Vertex(tags.derived(b.tag, "pool"), "max_pool"))
            for n in range(b.depth):
                tag = tags.derived(b.tag, "conv", n)
                params = (("channels", b.width), ("kernel", b.kernel))
                row.append(nasgen.Vertex(tag, "conv", params, tags.derived_range(b.width, tag)))
        row.append(nasgen.Vertex(tags.derived("chain", "output"), "output"))
        edges = tuple((a.tag, b.tag) for a, b in pairwise(row))
        return decode(nasgen.Dag(tuple(row), edges), input_shape, n_classes, max(WIDTHS))


@nasgen.mutation("change-block", accepts=Chain, summary="another block in one place, or one more")
def change_block(parent, space, rng):
    """Draw one block anew, its gene tag kept; one time in three put in another block instead."""
    blocks = list(parent.blocks)
    place = int(rng.integers(len(blocks)))
    if len(blocks) < space.max_blocks and rng.random() < 1 / 3:
        blocks.insert(place, space.block(tags.PROVISIONAL, rng))
    else:
        blocks[place] = space.block(blocks[place].tag, rng)
    if blocks == list(parent.blocks):
        raise nasgen.NotApplicable("the new block is the old one.", kind="unchanged")
    return Chain(tuple(blocks))
