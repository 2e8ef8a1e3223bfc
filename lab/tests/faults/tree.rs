//! What lies below a folder, and whether it is whole.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use coverslip_bundle::PlanFile;
use coverslip_bundle::tensors::TensorFile;
use coverslip_vit::Tuning;

/// Larger files are told apart by their length.
const HASHED: u64 = 8 << 20;

/// From this file a training that was cut off goes on.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// A file's length and the hash of its content; of a link, of its target.
type Content = (u64, u64);

/// The files and links below a folder, by their paths in it.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    files: BTreeMap<String, Content>,
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Tree {
        let mut files = BTreeMap::new();
        for path in below(root) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, content(&path));
        }
        Tree { root: root.to_owned(), files }
    }

    /// A copy in `place`, from which the folder can be restored.
    pub(crate) fn kept(self, place: &Path) -> Tree {
        let _ = fs::remove_dir_all(place);
        copy(&self.root, place);
        Tree { root: place.to_owned(), ..self }
    }

    pub(crate) fn restore(&self, place: &Path) {
        let _ = fs::remove_dir_all(place);
        copy(&self.root, place);
    }

    /// Whether no file was added, changed or removed, hidden ones among them.
    pub(crate) fn is_the_same(&self, other: &Tree) -> bool {
        self.files == other.files
    }

    /// The results: drafts, locks, and the folders and checkpoints of runs that go on are none.
    fn results(&self) -> impl Iterator<Item = (&String, &Content)> {
        self.files.iter().filter(|(name, _)| !is_hidden(name))
    }

    /// What a run leaves only while it is under way.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.files.keys().filter(|name| is_hidden(name)).cloned().collect()
    }

    pub(crate) fn has_a_journal(&self) -> bool {
        self.files.keys().any(|name| name.ends_with(".commit"))
    }

    /// Results that differ from another tree's, or are in one of the two only.
    pub(crate) fn changed(&self, other: &Tree) -> usize {
        self.differing(other).len()
    }

    fn differing<'a>(&'a self, other: &'a Tree) -> Vec<&'a String> {
        let mut names: Vec<&String> = self.results().chain(other.results()).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        names.retain(|name| self.files.get(*name) != other.files.get(*name));
        names
    }

    /// Whether nothing but this file is missing of a result like `new`.
    pub(crate) fn lacks_only(&self, name: &str, new: &Tree) -> bool {
        let names = |tree: &Tree| {
            tree.results().map(|(name, _)| name.clone()).filter(|found| found != name).collect::<Vec<_>>()
        };
        !self.files.contains_key(name) && names(self) == names(new)
    }

    /// Whether this is the new result (true) or the earlier one (false), of which this cannot be told where a file is cut
    /// off or of another run than the others. Some files have times in them: such a file is new if it is not the earlier
    /// one, and complete.
    pub(crate) fn is_whole(&self, earlier: &Tree, new: &Tree) -> Result<bool, String> {
        for checkpoint in self.files.keys().filter(|name| Path::new(name).ends_with(CHECKPOINT)) {
            complete(&self.root.join(checkpoint)).map_err(|why| format!("{checkpoint}: {why}"))?;
        }
        let changed = new.differing(earlier);
        if let Some((stranger, _)) =
            self.results().find(|(name, _)| !earlier.files.contains_key(*name) && !new.files.contains_key(*name))
        {
            return Err(format!("{stranger} is of no run"));
        }
        let mut kinds: Vec<(bool, &String)> = Vec::new();
        for name in changed {
            let there = self.files.get(name);
            if there == earlier.files.get(name) {
                kinds.push((false, name));
            } else if there == new.files.get(name) {
                kinds.push((true, name));
            } else {
                complete(&self.root.join(name)).map_err(|why| format!("{name}: {why}"))?;
                kinds.push((true, name));
            }
        }
        let first = kinds.first().map_or((false, String::new()), |(kind, name)| (*kind, (*name).clone()));
        match kinds.iter().find(|(kind, _)| *kind != first.0) {
            Some((_, other)) => Err(format!("{other} and {} are of two runs", first.1)),
            None => Ok(first.0),
        }
    }
}

fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part.ends_with(".partial") || part == CHECKPOINT)
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(below(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in below(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match fs::read_link(&path) {
            Ok(target) => std::os::unix::fs::symlink(target, place).unwrap(),
            // No command writes into a file that has its name.
            Err(_) => fs::hard_link(path, place).unwrap(),
        }
    }
}

fn content(path: &Path) -> Content {
    let mut hash = DefaultHasher::new();
    let found = fs::symlink_metadata(path).unwrap();
    if found.is_symlink() {
        fs::read_link(path).unwrap().hash(&mut hash);
    } else if found.len() < HASHED {
        fs::read(path).unwrap().hash(&mut hash);
    }
    (found.len(), hash.finish())
}

/// Whether a file has its end, by what its kind says.
fn complete(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let whole = match extension {
        "json" | "geojson" => serde_json::from_slice::<serde_json::Value>(&bytes).is_ok(),
        "parquet" => bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1") && bytes.len() > 12,
        "safetensors" => TensorFile::parse(bytes).is_ok(),
        // TensorRT does not build the same bytes each time. The file has a digest of its own.
        "plan" => PlanFile::read(path).is_ok(),
        // A key and a signature are of their run, and so is what was quickest.
        "key" | "pub" => String::from_utf8_lossy(&bytes).lines().count() == 2 && bytes.ends_with(b"\n"),
        "minisig" => String::from_utf8_lossy(&bytes).lines().count() == 4 && bytes.ends_with(b"\n"),
        "tuning" => String::from_utf8_lossy(&bytes).parse::<Tuning>().is_ok(),
        "png" => image::load_from_memory(&bytes).is_ok(),
        // A profile is not lost for a picture: the page says in its place why it is not there.
        "html" if bytes.ends_with(b"</html>\n") => String::from_utf8_lossy(&bytes).contains("(os error 5)"),
        _ => return Err("another content than that of either run".into()),
    };
    if whole { Ok(()) } else { Err(format!("half a .{extension}")) }
}
