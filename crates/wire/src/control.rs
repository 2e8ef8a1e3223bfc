//! The messages of the control connection, and the refusals of both.

use std::path::{Path, PathBuf};

use coverslip_base::error::{Error, error};
use coverslip_base::thread::Placement;
use coverslip_engine::config::{EngineConfig, GpuConfig};
use coverslip_engine::{About, Loss};
use coverslip_plugin_abi as abi;
use coverslip_vit::Choice;

use crate::field::{Malformed, Reader, Writer};

/// Lanes and tiles per batch at most, as the contract bounds them.
pub(crate) const MOST: u32 = 256;

/// Who speaks. Plugin and worker must be of one build, or their engines would be two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Version and commit.
    pub build: String,
    /// The process.
    pub process: u32,
}

impl Hello {
    /// The payload.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(self.build.as_bytes());
        writer.u32(self.process);
        writer.0
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Hello, Malformed> {
        let mut reader = Reader::new(bytes);
        let hello = Hello { build: reader.text()?.to_owned(), process: reader.u32()? };
        reader.end()?;
        Ok(hello)
    }
}

/// What a worker opens.
#[derive(Clone, Debug)]
pub struct Open {
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// sha256 of its manifest, which has the digests of all its other files: the plugin has checked who made it.
    pub digest: [u8; 32],
    /// Which engine, and on what. Its kind is one of the engines, not AUTO; the kernels are those that the plugin chose on this processor.
    pub engine: EngineConfig,
}

impl Open {
    /// The payload.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let EngineConfig { kind, fallback, cpu_lanes, cpu_precision, cpu_kernels, cpu_tuned: _, placement, gpu } =
            &self.engine;
        write_path(&mut writer, &self.bundle);
        writer.0.extend_from_slice(&self.digest);
        writer.i32(*kind);
        writer.i32(*fallback);
        writer.u32(*cpu_lanes as u32);
        writer.i32(*cpu_precision);
        writer.option(cpu_kernels.as_ref(), |writer, choice| writer.bytes(choice.to_string().as_bytes()));
        writer.u32(placement.cpus.len() as u32);
        placement.cpus.iter().for_each(|cpu| writer.u32(*cpu));
        writer.byte(u8::from(placement.normal_priority));
        writer.option(gpu.library.as_deref(), write_path);
        writer.byte(u8::from(gpu.search));
        writer.option(gpu.uuid.as_deref(), |writer, uuid| writer.bytes(uuid.as_bytes()));
        writer.option(gpu.plans.as_deref(), write_path);
        writer.option(gpu.plan_digest, |writer, digest| writer.0.extend_from_slice(&digest));
        writer.byte(u8::from(gpu.prebuilt_only));
        writer.i32(gpu.precision);
        writer.u32(gpu.max_batch);
        writer.u64(gpu.memory_limit);
        writer.byte(u8::from(gpu.private_plans));
        writer.0
    }

    /// Reads a payload. `cpu_tuned` stays open: the choice is made.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Open, Malformed> {
        let mut reader = Reader::new(bytes);
        let open = Open {
            bundle: read_path(&mut reader)?,
            digest: reader.array()?,
            engine: EngineConfig {
                kind: reader.i32()?,
                fallback: reader.i32()?,
                cpu_lanes: within(reader.u32()?, 1, MOST)?,
                cpu_precision: reader.i32()?,
                cpu_kernels: reader.option(read_kernels)?,
                cpu_tuned: false,
                placement: read_placement(&mut reader)?,
                gpu: read_gpu(&mut reader)?,
            },
        };
        reader.end()?;
        if !matches!(open.engine.kind, abi::ENGINE_CPU | abi::ENGINE_TENSORRT) {
            return Err(Malformed("an engine is none"));
        }
        Ok(open)
    }
}

fn read_kernels(reader: &mut Reader<'_>) -> Result<Choice, Malformed> {
    reader.text()?.parse().map_err(|_| Malformed("kernels are none"))
}

fn read_placement(reader: &mut Reader<'_>) -> Result<Placement, Malformed> {
    let count = reader.u32()? as usize;
    let cpus = reader.take(count.checked_mul(4).ok_or(Malformed("too many processors"))?)?;
    let cpu = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(Placement { cpus: cpus.chunks_exact(4).map(cpu).collect(), normal_priority: reader.flag()? })
}

fn read_gpu(reader: &mut Reader<'_>) -> Result<GpuConfig, Malformed> {
    Ok(GpuConfig {
        library: reader.option(read_path)?,
        search: reader.flag()?,
        uuid: reader.option(|reader| reader.text().map(str::to_owned))?,
        plans: reader.option(read_path)?,
        plan_digest: reader.option(Reader::array)?,
        prebuilt_only: reader.flag()?,
        precision: reader.i32()?,
        max_batch: reader.u32()?,
        memory_limit: reader.u64()?,
        private_plans: reader.flag()?,
    })
}

/// A path is the system's bytes.
#[cfg(unix)]
fn write_path(writer: &mut Writer, path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    writer.bytes(path.as_os_str().as_bytes());
}

#[cfg(unix)]
fn read_path(reader: &mut Reader<'_>) -> Result<PathBuf, Malformed> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(reader.bytes()?)))
}

/// A path is the system's units of 16 bits, which need be no text.
#[cfg(windows)]
fn write_path(writer: &mut Writer, path: &Path) {
    use std::os::windows::ffi::OsStrExt;
    let bytes: Vec<u8> = path.as_os_str().encode_wide().flat_map(u16::to_le_bytes).collect();
    writer.bytes(&bytes);
}

#[cfg(windows)]
fn read_path(reader: &mut Reader<'_>) -> Result<PathBuf, Malformed> {
    use std::os::windows::ffi::OsStringExt;
    let (units, rest) = reader.bytes()?.as_chunks();
    if !rest.is_empty() {
        return Err(Malformed("a path ends within a character"));
    }
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    Ok(PathBuf::from(std::ffi::OsString::from_wide(&units)))
}

fn within(value: u32, least: u32, most: u32) -> Result<usize, Malformed> {
    if (least..=most).contains(&value) { Ok(value as usize) } else { Err(Malformed("a number is out of its range")) }
}

/// How far the opening is: `COVERSLIP_STAGE_*`, and the share of it that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// `COVERSLIP_STAGE_*`
    pub stage: i32,
    /// 0..1
    pub part: f64,
}

impl Progress {
    /// The payload.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.i32(self.stage);
        writer.f64(self.part);
        writer.0
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut reader = Reader::new(bytes);
        let progress = Progress { stage: reader.i32()?, part: reader.f64()? };
        reader.end()?;
        let known = (abi::STAGE_VERIFY..=abi::STAGE_SELF_CHECK).contains(&progress.stage);
        if known && (0.0..=1.0).contains(&progress.part) { Ok(progress) } else { Err(Malformed("no such progress")) }
    }
}

/// Lines that a worker may say, from one batch to the next, before the library reads them: all fit the connection's buffer.
pub const LINES: usize = 32;
/// Bytes of a line.
pub const LINE: usize = 512;

/// A line for the host's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// `COVERSLIP_LOG_*`
    pub level: i32,
    /// What a log does with zeros in it is the log's.
    pub text: String,
}

impl LogLine {
    /// Bytes of a payload at most.
    pub const MOST: usize = 2 * size_of::<u32>() + LINE;

    /// The payload. A line is cut where it is too long.
    pub fn write(level: i32, text: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.i32(level);
        writer.bytes(&text[..text.len().min(LINE)]);
        writer.0
    }

    /// Reads a payload. What is no UTF-8 (a driver's) is replaced.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<LogLine, Malformed> {
        let mut reader = Reader::new(bytes);
        let level = reader.i32()?.clamp(abi::LOG_ERROR, abi::LOG_DEBUG);
        let text = String::from_utf8_lossy(reader.bytes()?).into_owned();
        reader.end()?;
        Ok(LogLine { level, text })
    }
}

/// The engine runs.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What runs.
    pub about: About,
    /// The largest 1 − cosine of the self-check.
    pub worst: f64,
}

impl Opened {
    /// The payload.
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let About {
            kind,
            version,
            max_batch,
            lanes,
            shared_device,
            run_bytes: _,
            memory_bytes,
            precision,
            cpu_kernels,
            driver,
            gpu_uuid,
            plan_digest,
        } = &self.about;
        writer.i32(*kind);
        writer.u32(*max_batch as u32);
        writer.u32(*lanes as u32);
        writer.byte(u8::from(*shared_device));
        writer.u64(*memory_bytes);
        writer.i32(*precision);
        [version, cpu_kernels, driver, gpu_uuid].iter().for_each(|text| writer.bytes(text.as_bytes()));
        writer.0.extend_from_slice(plan_digest);
        writer.f64(self.worst);
        writer.0
    }

    /// Reads a payload. What a run takes of memory it takes in the worker: nothing is asked for here.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Opened, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut about = About {
            kind: reader.i32()?,
            max_batch: within(reader.u32()?, 1, MOST)?,
            lanes: within(reader.u32()?, 1, MOST)?,
            shared_device: reader.flag()?,
            memory_bytes: reader.u64()?,
            precision: reader.i32()?,
            ..About::default()
        };
        for text in [&mut about.version, &mut about.cpu_kernels, &mut about.driver, &mut about.gpu_uuid] {
            *text = reader.text()?.to_owned();
        }
        about.plan_digest = reader.array()?;
        let worst = reader.f64()?;
        reader.end()?;
        Ok(Opened { about, worst })
    }
}

/// A failure's payload.
pub fn write_error(error: &Error) -> Vec<u8> {
    write_loss(&Loss { reason: abi::REASON_NONE, error: error.clone() })
}

/// A loss's payload.
pub fn write_loss(loss: &Loss) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.i32(loss.reason);
    writer.i32(loss.error.code);
    writer.u64(loss.error.native as u64);
    writer.bytes(loss.error.text().as_bytes());
    writer.0
}

/// Reads a payload of [`write_error`] or [`write_loss`]. A code or a reason that the contract does not know becomes a
/// defect's.
///
/// # Errors
/// It is none.
pub fn read_loss(bytes: &[u8]) -> Result<Loss, Malformed> {
    let mut reader = Reader::new(bytes);
    let (reason, code, native) = (reader.i32()?, reader.i32()?, reader.i64()?);
    let text = reader.text()?;
    reader.end()?;
    let mut error = error!(INTERNAL, "{text}").with_native(native);
    if (abi::INVALID_ARGUMENT..=abi::SIGNATURE_INVALID).contains(&code) {
        error.code = code;
    }
    let known = (abi::REASON_NONE..=abi::REASON_WORKER_PROTOCOL).contains(&reason);
    Ok(Loss { reason: if known { reason } else { abi::REASON_DEFECT }, error })
}

#[cfg(test)]
mod tests {
    use coverslip_vit::{Family, Int8Family};

    use super::*;

    fn open() -> Open {
        let gpu = GpuConfig {
            library: Some(PathBuf::from("/opt/t/libnvinfer.so.11")),
            search: true,
            uuid: Some("GPU-1".into()),
            plans: None,
            plan_digest: Some([7; 32]),
            prebuilt_only: true,
            precision: 3,
            max_batch: 64,
            memory_limit: u64::MAX - 1,
            private_plans: true,
        };
        let engine = EngineConfig {
            kind: abi::ENGINE_TENSORRT,
            fallback: abi::FALLBACK_ON_CPU,
            cpu_lanes: 256,
            cpu_precision: 1,
            cpu_kernels: Some(Choice { floats: Family::Avx2, int8: Some(Int8Family::Avx512Vnni) }),
            cpu_tuned: false,
            placement: Placement { cpus: vec![3, 1023], normal_priority: true },
            gpu,
        };
        Open { bundle: no_text(), digest: [9; 32], engine }
    }

    /// A path that the system allows, and that is no text.
    #[cfg(unix)]
    fn no_text() -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(b"/no utf-8 \xff"))
    }

    #[cfg(windows)]
    fn no_text() -> PathBuf {
        use std::os::windows::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_wide(&[0x43, 0x3a, 0x5c, 0xd800, 0x78]))
    }

    /// Cut off anywhere, or with a byte more, it is no message.
    fn whole<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, Malformed>) -> T {
        assert!((0..bytes.len()).all(|end| read(&bytes[..end]).is_err()));
        assert!(read(&[bytes, &[0]].concat()).is_err());
        read(bytes).unwrap()
    }

    #[test]
    fn what_is_opened_arrives_whole() {
        let sent = open();
        let found = whole(&sent.write(), Open::read);
        assert_eq!(format!("{found:?}"), format!("{sent:?}"));
        for (kind, lanes) in [(abi::ENGINE_AUTO, 1), (3, 1), (abi::ENGINE_CPU, 0), (abi::ENGINE_CPU, 257)] {
            let mut other = open();
            (other.engine.kind, other.engine.cpu_lanes) = (kind, lanes);
            assert!(Open::read(&other.write()).is_err(), "{kind} {lanes}");
        }
    }

    #[test]
    fn what_runs_arrives_whole() {
        let about = About {
            kind: abi::ENGINE_CPU,
            version: "rten µ".into(),
            max_batch: 256,
            lanes: 2,
            shared_device: true,
            memory_bytes: 1 << 40,
            precision: 2,
            cpu_kernels: "avx2".into(),
            driver: "CUDA 13.0".into(),
            gpu_uuid: "GPU-2".into(),
            plan_digest: [3; 32],
            ..About::default()
        };
        let sent = Opened { about, worst: 1e-7 };
        assert_eq!(format!("{:?}", whole(&sent.write(), Opened::read)), format!("{sent:?}"));
        let mut none = sent.clone();
        none.about.lanes = 0;
        assert!(Opened::read(&none.write()).is_err());
        let hello = Hello { build: "0.1.0".into(), process: 7 };
        assert_eq!(whole(&hello.write(), Hello::read), hello);
        let progress = Progress { stage: 2, part: 0.25 };
        assert_eq!(whole(&progress.write(), Progress::read), progress);
        for (stage, part) in [(4, 0.5), (-1, 0.5), (2, f64::NAN), (2, 1.5)] {
            assert!(Progress::read(&Progress { stage, part }.write()).is_err());
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_if_the_contract_has_it() {
        let loss = Loss { reason: 6, error: error!(DIGEST_MISMATCH, "expected a, found b").with_native(-5) };
        let found = whole(&write_loss(&loss), read_loss);
        assert_eq!((found.reason, found.error.code, found.error.native), (6, abi::DIGEST_MISMATCH, -5));
        assert_eq!(found.error.text(), "expected a, found b");
        let mut strange = loss;
        (strange.reason, strange.error.code) = (99, 0);
        let found = read_loss(&write_loss(&strange)).unwrap();
        assert_eq!((found.reason, found.error.code), (abi::REASON_DEFECT, abi::INTERNAL));
        let line = LogLine::read(&LogLine::write(9, b"caf\xe9")).unwrap();
        assert_eq!((line.level, line.text.as_str()), (abi::LOG_DEBUG, "caf\u{fffd}"));
        let longest = LogLine::write(abi::LOG_INFO, &[b'x'; 2 * LINE]);
        assert_eq!((longest.len(), LogLine::read(&longest).unwrap().text.len()), (LogLine::MOST, LINE));
    }
}
