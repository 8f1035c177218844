"""The kinds of vertices. Members load torch only when they build a module."""

from nasgen.registry import Entry

ENTRIES = (
    Entry("conv", "nasgen.layers.conv:Conv", "convolution, batch norm, ReLU"),
    Entry(
        "conv-pool",
        "nasgen.layers.conv_pool:ConvPool",
        "convolution, 2x2 maximum, batch norm, ReLU",
        reference="Jordan 2024",
    ),
    Entry("conv-relu", "nasgen.layers.conv_relu:ConvRelu", "convolution, bias, ReLU"),
    Entry(
        "conv-bias",
        "nasgen.layers.conv_bias:ConvBias",
        "convolution of any size, padded or not, bias, with or without ReLU",
    ),
    Entry("linear", "nasgen.layers.linear:Linear", "bare 1x1 convolution, or dense layer"),
    Entry("max_pool", "nasgen.layers.pool:MaxPool", "2x2 maximum, halves the map"),
    Entry(
        "global_max_pool",
        "nasgen.layers.pool:GlobalMaxPool",
        "largest value of each map, one pixel",
    ),
    Entry(
        "max_pool3",
        "nasgen.layers.pool:MaxPool3",
        "3x3 maximum, keeps the map",
        reference="Szegedy 2015",
    ),
    Entry("avg_pool", "nasgen.layers.pool:AvgPool", "2x2 average, halves the map"),
    Entry("max_pool3s2", "nasgen.layers.pool:MaxPool3s2", "3x3 maximum, halves the map"),
    Entry("avg_pool3s2", "nasgen.layers.pool:AvgPool3s2", "3x3 average, halves the map"),
    Entry("sum", "nasgen.layers.merge:Sum", "element-wise sum of its inputs"),
    Entry("concat", "nasgen.layers.merge:Concat", "channels of its inputs side by side"),
    Entry("skip", "nasgen.layers.merge:Skip", "identity"),
    Entry("relu", "nasgen.layers.relu:Relu", "ReLU by itself"),
    Entry(
        "dropout",
        "nasgen.layers.dropout:Dropout",
        "a share of the values is 0 in training",
        reference="Srivastava 2014",
    ),
    Entry("pad", "nasgen.layers.pad:Pad", "image in the middle of a larger one"),
    Entry(
        "flatten-dense",
        "nasgen.layers.flatten_dense:FlattenDense",
        "dense layer on all pixels, bias, with or without ReLU",
    ),
    Entry("resize", "nasgen.layers.adapt:Resize", "decoder only: smaller map"),
    Entry("project", "nasgen.layers.adapt:Project", "decoder only: 1x1 convolution"),
    Entry("stem", "nasgen.layers.adapt:Stem", "decoder only: strided first convolution"),
    Entry(
        "avg_pool_3x3",
        "nasgen.layers.pool:AvgPool3",
        "cells only: 3x3 average that keeps the map",
    ),
    Entry("head", "nasgen.layers.adapt:Head", "decoder only: global average, linear"),
    Entry("dense", "nasgen.layers.dense:Dense", "dense layer, batch norm, ReLU"),
    Entry("dense-relu", "nasgen.layers.dense:DenseRelu", "dense layer, bias, ReLU"),
    Entry("flatten", "nasgen.layers.summary:Flatten", "decoder only: pixels in one row"),
    Entry("embed", "nasgen.layers.summary:Embed", "decoder only: each step of a sequence mapped"),
    Entry(
        "over_time",
        "nasgen.layers.summary:OverTime",
        "decoder only: mean, maximum, deviation over the steps of a sequence",
    ),
    Entry("rnn_tanh", "nasgen.layers.recurrent:RnnTanh", "recurrent units, tanh"),
    Entry("rnn_relu", "nasgen.layers.recurrent:RnnRelu", "recurrent units, ReLU"),
    Entry("gru", "nasgen.layers.recurrent:Gru", "gated recurrent units", reference="Cho 2014"),
    Entry(
        "lstm",
        "nasgen.layers.recurrent:Lstm",
        "long short-term memory",
        reference="Hochreiter & Schmidhuber 1997",
    ),
    Entry(
        "last_step",
        "nasgen.layers.recurrent:LastStep",
        "decoder only: states at the end of each sequence",
    ),
)

# What a search space may offer as vertices when its options name nothing else.
DECODER_ONLY = (
    "resize", "project", "stem", "avg_pool_3x3", "head", "flatten", "embed", "over_time",
    "rnn_tanh", "rnn_relu", "gru", "lstm", "last_step",
)  # fmt: skip
