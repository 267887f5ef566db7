//! Where a model is computed, by name: `cpu`, `cuda`, `cuda:N` or `auto`.

use crate::cuda::{self, Gpu};
use crate::data::quoted;
use crate::error::{Error, Result};
use crate::log;

/// Where a model is computed.
#[derive(Debug, Clone)]
pub enum Device {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda(&'static Gpu),
}

impl Device {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Device::Cpu)
    }
}

/// The device of that name. `auto` is CUDA where this build has it and a GPU works, else the CPU.
pub fn from_name(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(automatic()),
        "cuda" => gpu(0),
        other => match other.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(ordinal)) => gpu(ordinal),
            _ => Err(Error::Device(format!(
                "The device {} is not known; use cpu, cuda, cuda:N (N counts from 0) or auto.",
                quoted(other)
            ))
            .of_argument("device")),
        },
    }
}

/// The device's name, such that [`from_name`] gives it back.
pub fn name(device: &Device) -> String {
    match device {
        Device::Cpu => "cpu".to_string(),
        Device::Cuda(gpu) => format!("cuda:{}", gpu.ordinal()),
    }
}

fn automatic() -> Device {
    // A library without kernels has nothing to try.
    if !cfg!(feature = "cuda") {
        return Device::Cpu;
    }
    gpu(0).unwrap_or_else(|error| {
        log::info(|| format!("No GPU is used; the model runs on the CPU. {error}"));
        Device::Cpu
    })
}

fn gpu(ordinal: usize) -> Result<Device> {
    Ok(Device::Cuda(cuda::gpu(ordinal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_given_back() {
        assert_eq!(name(&from_name("cpu").unwrap()), "cpu");
        assert!(from_name("auto").is_ok());
        for wrong in ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let error = from_name(wrong).unwrap_err();
            assert!(matches!(error.category(), Error::Device(_)), "{wrong}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_says_how_to_get_it() {
        let error = from_name("cuda:1").unwrap_err();
        assert!(error.message().contains("--features cuda"), "{error}");
    }
}
