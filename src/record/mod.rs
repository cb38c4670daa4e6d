//! Records of devices that are kept as files of this node: download tasks, and the MP4 files they make.
//!
//! Start with [`shell`] (what a task does), then [`mp4`] (how its parts become a file).

pub mod mp4;
pub mod shell;

pub use shell::{Downloads, State, Task};
