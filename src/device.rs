//! Where a model is computed, by name: `cpu`, `cuda`, `cuda:N` or `auto`.

use candle_core::Device;

use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::log;

/// The device of that name. `auto` is CUDA where this build has it and a GPU works, else the CPU.
pub fn from_name(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(automatic()),
        "cuda" => cuda(0),
        other => match other.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(ordinal)) => cuda(ordinal),
            _ => Err(Error::Device(format!(
                "The device '{other}' is not known; use cpu, cuda, cuda:N (N counts from 0) or auto."
            ))),
        },
    }
}

/// The device's name, such that [`from_name`] gives it back.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        _ => "cpu".to_string(),
    }
}

#[cfg(not(feature = "cuda"))]
fn automatic() -> Device {
    Device::Cpu
}

#[cfg(feature = "cuda")]
fn automatic() -> Device {
    cuda(0).unwrap_or_else(|error| {
        log::info(|| format!("No CUDA device is used: {error} The model runs on the CPU."));
        Device::Cpu
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(ordinal: usize) -> Result<Device> {
    Err(Error::Device(format!(
        "The device cuda:{ordinal} was asked for, but this library was built without CUDA; build it with `cargo build \
         --release --features cuda`, or use the device cpu."
    )))
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<Device> {
    Device::new_cuda(ordinal).map_err(|error| {
        log::debug(|| error.to_string());
        Error::Device(format!(
            "The device cuda:{ordinal} can't be used; is there an NVIDIA GPU of that number, with a driver as new as \
             the CUDA version that this library was built with? The device cpu works everywhere."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_given_back() {
        assert_eq!(name(&from_name("cpu").unwrap()), "cpu");
        assert!(from_name("auto").is_ok());
        for wrong in ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(matches!(from_name(wrong), Err(Error::Device(_))), "{wrong}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_says_how_to_get_it() {
        let error = from_name("cuda:1").unwrap_err();
        assert!(error.message().contains("--features cuda"), "{error}");
    }
}
