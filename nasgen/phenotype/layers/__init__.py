"""The kinds of vertices. Members load torch only when they build a module."""

from nasgen.registry import Entry

ENTRIES = (
    Entry("conv", "nasgen.phenotype.layers.conv:Conv", "convolution, batch norm, ReLU"),
    Entry("conv-relu", "nasgen.phenotype.layers.conv_relu:ConvRelu", "convolution, bias, ReLU"),
    Entry("linear", "nasgen.phenotype.layers.linear:Linear", "bare 1x1 convolution"),
    Entry("max_pool", "nasgen.phenotype.layers.pool:MaxPool", "2x2 maximum, halves the map"),
    Entry(
        "max_pool3",
        "nasgen.phenotype.layers.pool:MaxPool3",
        "3x3 maximum, keeps the map",
        reference="Szegedy 2015",
    ),
    Entry("avg_pool", "nasgen.phenotype.layers.pool:AvgPool", "2x2 average, halves the map"),
    Entry("sum", "nasgen.phenotype.layers.merge:Sum", "element-wise sum of its inputs"),
    Entry("concat", "nasgen.phenotype.layers.merge:Concat", "channels of its inputs side by side"),
    Entry("skip", "nasgen.phenotype.layers.merge:Skip", "identity"),
    Entry("resize", "nasgen.phenotype.layers.adapt:Resize", "decoder only: smaller map"),
    Entry("project", "nasgen.phenotype.layers.adapt:Project", "decoder only: 1x1 convolution"),
    Entry("stem", "nasgen.phenotype.layers.adapt:Stem", "decoder only: strided first convolution"),
    Entry(
        "avg_pool_3x3",
        "nasgen.phenotype.layers.pool:AvgPool3",
        "cells only: 3x3 average that keeps the map",
    ),
    Entry("head", "nasgen.phenotype.layers.adapt:Head", "decoder only: global average, linear"),
)

# What a search space may offer as vertices when its options name nothing else.
DECODER_ONLY = ("resize", "project", "stem", "avg_pool_3x3", "head")
