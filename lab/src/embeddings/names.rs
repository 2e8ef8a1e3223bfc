//! Names inside an embedding file: tensors (columns, in a .parquet) and the columns of the table. Tensors have the names
//! of the graph's outputs.

use std::path::{Path, PathBuf};

use coverslip_bundle::ComposedGraph;

/// The formats, by the file's extension.
pub(super) const SAFETENSORS: &str = "safetensors";
pub(super) const PARQUET: &str = "parquet";

/// i32 \[tiles, k\]
pub(crate) const FEATURE_INDEX: &str = ComposedGraph::FEATURE_INDEX;
/// float \[tiles, k\]
pub(crate) const FEATURE_VALUE: &str = ComposedGraph::FEATURE_VALUE;

/// The slide's column in the files that `embed` writes; in a [`Table`](super::Table), whichever column names the slide.
pub(crate) const SLIDE: &str = "slide";
/// Columns that name the slide in the tables of this and other programs, in the order in which they are looked for.
pub(crate) const SLIDES: [&str; 3] = [SLIDE, "slide_id", "sample_id"];
pub(crate) const IMAGE: &str = "image";
pub(crate) const TILE: &str = "tile";
/// The number of the scene that the tile lies in; empty where the file has only one.
pub(crate) const SCENE: &str = "scene";
/// x, y, width and height in the image, px.
pub(crate) const PLACE: [&str; 4] = ["x", "y", "width", "height"];
pub(crate) const SCANNER: &str = "scanner";
/// Mean red, green and blue of the tile, 0 to 255.
pub(crate) const COLOUR: [&str; 3] = ["mean_red", "mean_green", "mean_blue"];

/// Share of the tile's pixels with as much haematoxylin as the input's nuclei, 0 to 1.
pub(crate) const HAEMATOXYLIN_AREA: &str = "haematoxylin_area";

/// The table's columns that this command writes, in their order.
pub const COLUMNS: [&str; 17] = [
    SLIDE,
    IMAGE,
    TILE,
    "column",
    "row",
    PLACE[0],
    PLACE[1],
    PLACE[2],
    PLACE[3],
    "mpp",
    SCANNER,
    COLOUR[0],
    COLOUR[1],
    COLOUR[2],
    "tissue",
    HAEMATOXYLIN_AREA,
    SCENE,
];

/// Two more, where a row is a patch token: its place among the tile's.
pub(crate) const TOKEN_COLUMNS: [&str; 2] = ["token_column", "token_row"];

/// The tensor of a tap: float \[tiles, width\].
pub(super) fn tensor(tap: &str) -> String {
    ComposedGraph::embedding(tap)
}

/// Whether a tensor's name says that it is a tap.
pub(super) fn is_tap(tensor: &str) -> bool {
    tensor.starts_with(ComposedGraph::EMBEDDING)
}

/// The tap of a tensor: the name without `embedding_`, or the name.
pub(super) fn tap(tensor: &str) -> &str {
    tensor.strip_prefix(ComposedGraph::EMBEDDING).unwrap_or(tensor)
}

/// The table beside a .safetensors.
pub(super) fn table(file: &Path) -> PathBuf {
    file.with_extension("csv")
}
