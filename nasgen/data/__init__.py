"""Data sets as numpy arrays. Importing this package loads neither numpy nor a reader."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "digits",
        "nasgen.data.digits:load",
        "digits: 1,797 grey images of 8x8, shipped with scikit-learn",
        reference="Alpaydin & Kaynak 1998",
    ),
    Entry(
        "mnist",
        "nasgen.data.idx:load",
        "mnist:DIR, idx files: MNIST, Fashion-MNIST, KMNIST, EMNIST",
        reference="LeCun 1998",
    ),
    Entry(
        "cifar10",
        "nasgen.data.cifar:load",
        "cifar10:DIR, the binary version: data_batch_1.bin to 5, test_batch.bin",
        reference="Krizhevsky 2009",
    ),
    Entry(
        "folder",
        "nasgen.data.folder:load",
        "folder:DIR, image files in DIR/CLASS or DIR/train/CLASS and DIR/test/CLASS",
    ),
    Entry(
        "npz",
        "nasgen.data.npz:load",
        "npz:FILE, arrays x_train, y_train, x_test, y_test or x, y; lengths for sequences",
    ),
    Entry(
        "csv",
        "nasgen.data.table:load",
        "csv:FILE?target=COLUMN, a table with a header; &shape=CxHxW for images",
    ),
    Entry(
        "array",
        "nasgen.data.arrays:load",
        "array:DIGEST, arrays that a run was given in Python and keeps in its folder",
    ),
)
