//! The targets. A new one is a file here with a [`Target`], and its line in [`TARGETS`].

mod capi;
mod config;
mod data_files;
mod model_buffer;
mod model_directory;
mod safetensors;
mod state_dict;
mod texts;
mod tokenizer_json;
mod vocab_txt;

/// What is fuzzed.
pub struct Target {
    /// Its name: of its corpus, and in `LIBBERT_FUZZ`.
    pub name: &'static str,
    /// The longest input that is tried: what takes long for long ones gets short ones.
    pub most_bytes: usize,
    /// Runs one input; panics where something is wrong.
    pub run: fn(&[u8]),
    /// Sound inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that inputs are made of, for libFuzzer's dictionary.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    config::TARGET,
    tokenizer_json::TARGET,
    vocab_txt::TARGET,
    safetensors::TARGET,
    state_dict::TARGET,
    model_buffer::TARGET,
    model_directory::TARGET,
    data_files::TARGET,
    texts::TARGET,
    capi::TARGET,
];
