//! The memory bound to an engine's tensors, and whether it suffices. TensorRT does not check this; [`super::Context`]
//! asks before every run.

use std::ffi::CStr;
use std::sync::Arc;

use super::abi::Dims;
use super::codes::{TensorFormat, TensorLocation};
use super::cuda::{ALIGNMENT, DeviceMemory};
use super::error::BindError;
use super::tensor::IoTensor;

/// The memory bound to each of an engine's tensors.
pub(super) struct Bindings {
    io: Arc<[IoTensor]>,
    memory: Vec<Option<DeviceMemory>>,
}

impl Bindings {
    pub(super) fn new(io: Arc<[IoTensor]>) -> Self {
        Self { memory: vec![None; io.len()], io }
    }

    pub(super) fn io(&self) -> &[IoTensor] {
        &self.io
    }

    /// The engine's own name of a tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<&CStr, BindError> {
        let known = self.io.iter().find(|tensor| tensor.name.to_bytes() == name.as_bytes());
        known.map(|tensor| &*tensor.name).ok_or_else(|| self.unknown(name.to_owned()))
    }

    fn unknown(&self, tensor: String) -> BindError {
        BindError::NoSuchTensor { tensor, known: self.io.iter().map(IoTensor::name).collect() }
    }

    /// The index of a tensor, if this memory may be bound to it.
    pub(super) fn accepts(&self, name: &CStr, memory: &DeviceMemory) -> Result<usize, BindError> {
        let Some(index) = self.io.iter().position(|tensor| *tensor.name == *name) else {
            return Err(self.unknown(name.to_string_lossy().into_owned()));
        };
        let (tensor, name) = (&self.io[index], name.to_string_lossy().into_owned());
        if tensor.location != TensorLocation::DEVICE {
            return Err(BindError::Unsupported { tensor: name, why: format!("its memory is the {}", tensor.location) });
        }
        if tensor.format != TensorFormat::LINEAR || tensor.data_type.bits().is_none() {
            let why = format!("its elements are {}, {}", tensor.data_type, tensor.format);
            return Err(BindError::Unsupported { tensor: name, why });
        }
        let address = memory.address();
        if address == 0 || !address.is_multiple_of(ALIGNMENT) {
            return Err(BindError::Misaligned { tensor: name, address });
        }
        Ok(index)
    }

    /// Keeps what is bound at an index from [`Bindings::accepts`].
    pub(super) fn set(&mut self, index: usize, memory: Option<DeviceMemory>) {
        self.memory[index] = memory;
    }

    /// Whether every tensor has enough memory for its current shape.
    pub(super) fn check(&self, shape: impl Fn(&CStr) -> Dims) -> Result<(), BindError> {
        for (tensor, memory) in self.io.iter().zip(&self.memory) {
            let Some(memory) = memory else { return Err(BindError::Unbound { tensor: tensor.name() }) };
            let Some(needed) = tensor.bytes(&shape(&tensor.name)) else {
                return Err(BindError::ShapeUnknown { tensor: tensor.name() });
            };
            if memory.bytes() < needed {
                return Err(BindError::TooSmall { tensor: tensor.name(), bytes: memory.bytes(), needed });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{DataType, TensorIoMode};
    use super::*;

    fn tensor(name: &CStr, data_type: DataType) -> IoTensor {
        IoTensor {
            name: name.to_owned(),
            mode: TensorIoMode::INPUT,
            dims: Dims::default(),
            data_type,
            location: TensorLocation::DEVICE,
            format: TensorFormat::LINEAR,
        }
    }

    fn memory(address: u64, bytes: u64) -> DeviceMemory {
        // SAFETY: nothing here reads it.
        unsafe { DeviceMemory::from_raw(address, bytes, Arc::new(())) }
    }

    fn shape(shape: &[i64]) -> Dims {
        Dims::new(shape).unwrap()
    }

    #[test]
    fn memory_must_fit_the_tensor_and_its_shape_now() {
        let mut bindings = Bindings::new([tensor(c"x", DataType::FLOAT), tensor(c"y", DataType::HALF)].into());
        let batch = |n| move |name: &CStr| if name == c"x" { shape(&[n, 16]) } else { shape(&[n]) };
        assert_eq!(bindings.check(batch(1)), Err(BindError::Unbound { tensor: "x".into() }));
        for (name, bytes) in [(c"x", 256), (c"y", 8)] {
            let index = bindings.accepts(name, &memory(0x1000, bytes)).unwrap();
            bindings.set(index, Some(memory(0x1000, bytes)));
        }
        assert_eq!(bindings.check(batch(4)), Ok(()));
        let small = BindError::TooSmall { tensor: "x".into(), bytes: 256, needed: 320 };
        assert_eq!(bindings.check(batch(5)), Err(small));
        assert_eq!(bindings.check(batch(-1)), Err(BindError::ShapeUnknown { tensor: "x".into() }));
    }

    #[test]
    fn memory_that_cannot_be_bound_is_refused() {
        let mut host = tensor(c"host", DataType::INT64);
        host.location = TensorLocation::HOST;
        let mut packed = tensor(c"packed", DataType::HALF);
        packed.format = TensorFormat(2);
        let bindings = Bindings::new([tensor(c"x", DataType::FLOAT), host, packed].into());
        let of = |name, address| bindings.accepts(name, &memory(address, 1 << 20)).unwrap_err().to_string();
        assert!(of(c"z", 0x1000).contains("has x, host, packed"));
        assert_eq!(bindings.tensor("host"), Ok(c"host"));
        assert!(bindings.tensor("hos").unwrap_err().to_string().contains("has x, host, packed"));
        assert!(of(c"x", 0x1010).contains("multiples of 256"));
        assert!(of(c"x", 0).contains("multiples of 256"));
        assert!(of(c"host", 0x1000).contains("host"));
        assert!(of(c"packed", 0x1000).contains("TensorFormat 2"));
    }
}
