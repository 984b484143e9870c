//! `get`: shortened for people, complete for files and programs.

use super::Context;
use super::args::{Command, Get};
use super::failure::Failure;
use super::interrupt::{UntilInterrupted, on_interrupt};
use super::progress::Meter;
use super::render::numpy::{self, Piece};
use super::store::describe_shape;
use crate::cluster::Cluster;
use crate::download::Layout;
use crate::error::Error;
use crate::format::{self, Format};
use crate::original::Original;
use crate::original::find::Master;
use array::DType;
use protocol::message::client::Source;
use protocol::size::format_size;
use protocol::{ErrorCode, Reference, WireError};
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How often the version behind a name may change while its edges are read, before that is an error: somebody
/// replaces the array all the time.
const RESTARTS_MAX: u32 = 100;

/// `get`.
pub fn get(context: &Context, get: &Get) -> Result<(), Failure> {
    match (&get.out, context.console.is_json()) {
        (Some(path), _) => to_file(context, get, path),
        (None, true) => as_json(context, get),
        (None, false) => for_people(context, get),
    }
}

/// What was read, or can be.
struct Found {
    name: String,
    /// The version's; level 1 has none.
    handle: Option<String>,
    source: Source,
    dtype: DType,
    /// Of what is read: a range is a row of its elements.
    shape: Vec<u64>,
    elements: Range<u64>,
}

impl Found {
    fn new(get: &Get, layout: Layout) -> Result<Found, Error> {
        let Layout { name, handle, source, dtype, shape, elements, .. } = layout;
        if let Some(wanted) = get.dtype.filter(|wanted| *wanted != dtype) {
            return Err(Error::WrongDType { array: handle, found: dtype, wanted });
        }
        let shape = match get.range {
            Some(_) => vec![elements.end - elements.start],
            None => shape,
        };
        Ok(Found { name, handle: Some(handle), source, dtype, shape, elements })
    }

    /// What people call it.
    fn title(&self) -> &str {
        self.handle.as_ref().unwrap_or(&self.name)
    }
}

/// The range that was asked for; its open ends are those of the array.
fn range(cluster: &Cluster, get: &Get) -> Result<Option<Range<u64>>, Failure> {
    Ok(match get.range {
        None => None,
        Some((from, Some(to))) => Some(from.unwrap_or(0)..to),
        Some((from, None)) => {
            let layout = cluster.describe(&get.name, get.array)?;
            let len = layout.shape.iter().product();
            Some(from.unwrap_or(0).min(len)..len)
        }
    })
}

fn read_all(context: &Context, get: &Get) -> Result<(Found, Vec<u8>), Failure> {
    let cluster = match &context.master {
        Master::Cluster(cluster) => cluster,
        Master::Original(original) => return read_original(original, get),
    };
    let range = range(cluster, get)?;
    let mut meter = Meter::bytes(format!("reading {}", get.name));
    let (layout, bytes) = cluster.read_bytes(&get.name, get.array, range, &mut |progress| meter.update(progress))?;
    Ok((Found::new(get, layout)?, bytes))
}

/// Reads a result on level 1, which does not tell ints from doubles.
fn read_original(original: &Original, get: &Get) -> Result<(Found, Vec<u8>), Failure> {
    let name = get.name.clone();
    let dtype = get.dtype.or_else(|| original.created(&name).map(|created| created.dtype));
    let dtype = dtype.unwrap_or(DType::Float64);
    let bytes = match dtype {
        DType::Int32 => bytemuck::cast_slice(&original.get_ints(&name)?).to_vec(),
        _ => bytemuck::cast_slice(&original.get(&name)?).to_vec(),
    };
    let len = (bytes.len() / dtype.size()) as u64;
    Ok((Found { name, handle: None, source: Source::Result, dtype, shape: vec![len], elements: 0..len }, bytes))
}

/// The format of an output file.
fn format_of(path: &Path) -> Result<Format, Failure> {
    Format::of_path(path).ok_or_else(|| {
        Failure::Usage(format!(
            "--out {}: the ending says what to write; there are .npy, .csv and .json",
            path.display()
        ))
    })
}

/// What can be wrong about a `get` without a cluster.
pub fn check(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Get(Get { out: Some(path), .. }) => format_of(path).map(|_| ()),
        _ => Ok(()),
    }
}

/// What a cluster knows before anything is read.
fn check_for_cluster(cluster: &Cluster, get: &Get, format: Format) -> Result<(), Failure> {
    let found = Found::new(get, cluster.describe(&get.name, get.array)?)?;
    format::check_writable(format, found.dtype, found.shape.len()).map_err(|e| Failure::File(e.to_string()))
}

fn to_file(context: &Context, get: &Get, path: &Path) -> Result<(), Failure> {
    let format = format_of(path)?;
    if let Master::Cluster(cluster) = &context.master {
        check_for_cluster(cluster, get, format)?;
    }
    let (found, bytes) = read_all(context, get)?;
    write_file(path, |out| format::write(format, out, found.dtype, &found.shape, &bytes))
        .map_err(|e| Failure::File(format!("{}: {e}", path.display())))?;
    let answer = json!({
        "name": found.name, "handle": found.handle, "source": found.source, "dtype": found.dtype.name(),
        "shape": found.shape, "bytes": bytes.len(), "out": path.to_string_lossy(),
    });
    context.console.answer(&answer, || {
        let (what, size) = (describe_shape(&found.shape), format_size(bytes.len() as u64));
        format!("{}: {what} of {}, {size}, in {}\n", found.title(), found.dtype, path.display())
    })
}

/// Writes a file that appears under its name only when it is complete. What is no plain file (a pipe, a device) is
/// written to as it is.
fn write_file(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut out = BufWriter::new(UntilInterrupted(File::options().write(true).open(path)?));
        content(&mut out)?;
        return out.flush();
    }
    // A link stays one: the file behind it is replaced.
    let path = fs::canonicalize(path).unwrap_or(path.to_path_buf());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".client-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask takes its part away
    let temporary = builder.tempfile_in(directory)?;
    let leftover: PathBuf = temporary.path().to_path_buf();
    let _guard = on_interrupt(move || {
        let _ = fs::remove_file(leftover); // whatever comes next, it is not this error
        None
    });
    let mut out = BufWriter::new(UntilInterrupted(temporary));
    content(&mut out)?;
    let temporary = out.into_inner().map_err(io::IntoInnerError::into_error)?.0;
    temporary.persist(&path).map_err(|e| e.error)?;
    Ok(())
}

/// `{name, handle, source, dtype, shape, data}`, written as it is made, because it can be long.
fn as_json(context: &Context, get: &Get) -> Result<(), Failure> {
    let (found, bytes) = read_all(context, get)?;
    format::check_writable(Format::Json, found.dtype, found.shape.len()).map_err(|e| Failure::File(e.to_string()))?;
    let mut out = BufWriter::new(UntilInterrupted(io::stdout().lock()));
    let (name, handle, source) = (json!(found.name), json!(found.handle), json!(found.source));
    write!(out, "{{\"name\":{name},\"handle\":{handle},\"source\":{source},\"dtype\":\"{}\",", found.dtype)?;
    if get.range.is_some() {
        write!(out, "\"range\":[{},{}],", found.elements.start, found.elements.end)?;
    }
    write!(out, "\"shape\":{},\"data\":", json!(found.shape))?;
    let mut one_line = OneLine(&mut out);
    format::json::write(&mut one_line, found.dtype, &found.shape, &bytes)?;
    out.write_all(b"}\n")?;
    Ok(out.flush()?)
}

/// Takes newlines out, so that an object is a line.
struct OneLine<'a>(&'a mut dyn Write);

impl Write for OneLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split(|&byte| byte == b'\n').filter(|piece| !piece.is_empty()) {
            self.0.write_all(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn for_people(context: &Context, get: &Get) -> Result<(), Failure> {
    let (found, pieces) = match &context.master {
        Master::Cluster(cluster) => read_shown(cluster, get)?,
        Master::Original(original) => {
            let (found, bytes) = read_original(original, get)?;
            let pieces = cut(&found, &bytes);
            (found, pieces)
        }
    };
    let what = match found.source {
        Source::Array => "the array",
        Source::Result => "a result",
    };
    let array = numpy::print(found.dtype, &found.shape, &pieces);
    let text = format!("{}, {what}: {} of {}\n{array}\n", found.title(), describe_shape(&found.shape), found.dtype);
    context.console.answer(&(), || text)
}

/// What is shown of elements that are all there.
fn cut(found: &Found, bytes: &[u8]) -> Vec<Piece> {
    let size = found.dtype.size();
    let of = |range: &Range<u64>| bytes[range.start as usize * size..range.end as usize * size].to_vec();
    numpy::shown(&found.shape).iter().map(|range| Piece { start: range.start, bytes: of(range) }).collect()
}

/// Reads what is shown, all of it from one version.
fn read_shown(cluster: &Cluster, get: &Get) -> Result<(Found, Vec<Piece>), Failure> {
    let by_name = Reference::parse(&get.name).version.is_none();
    for _ in 0..RESTARTS_MAX {
        let mut layout = cluster.describe(&get.name, get.array)?;
        let len: u64 = layout.shape.iter().product();
        let (from, to) = get.range.unwrap_or_default();
        layout.elements = from.unwrap_or(0)..to.unwrap_or(len.max(from.unwrap_or(0)));
        if layout.elements.end > len {
            return Err(beyond(get, &layout, len));
        }
        let handle = layout.handle.clone();
        let found = Found::new(get, layout)?;
        match read_pieces(cluster, &handle, &found) {
            // The version has been replaced since it was described: describe again.
            Err(error) if by_name && error.code() == Some(ErrorCode::UnknownVersion) => {}
            result => return Ok((found, result?)),
        }
    }
    Err(Failure::File(format!("'{}' changes faster than it can be read; get one version by its handle", get.name)))
}

/// What the master would say, had it been asked for more than the edges.
fn beyond(get: &Get, layout: &Layout, len: u64) -> Failure {
    let Range { start, end } = layout.elements;
    let text = format!("elements {start}:{end} of '{}', which has {len}", get.name);
    Failure::Cluster(Error::Refused(WireError::new(ErrorCode::OutOfRange, text).array(&layout.name)))
}

fn read_pieces(cluster: &Cluster, handle: &str, found: &Found) -> Result<Vec<Piece>, Error> {
    let first = found.elements.start;
    numpy::shown(&found.shape)
        .into_iter()
        .map(|range| {
            let elements = first + range.start..first + range.end;
            let (_, bytes) = cluster.read_bytes(handle, false, Some(elements), &mut |_| ())?;
            Ok(Piece { start: range.start, bytes })
        })
        .collect()
}
