//! The software bill of materials: what a file that is installed was linked from, as CycloneDX 1.6 in JSON.
//!
//! `packaging/components.tsv` lists the crates, `components-windows.tsv` those on Windows; `tests/architecture` writes it from `cargo tree` and holds it to that. No
//! time and no path is in the text: the same file gives the same text.

use coverslip_bundle::Digest;
use serde_json::{Value, json};

#[cfg(not(windows))]
const COMPONENTS: &str = include_str!("../../../packaging/components.tsv");
#[cfg(windows)]
const COMPONENTS: &str = include_str!("../../../packaging/components-windows.tsv");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the compiler, and so of the standard library.
const RUSTC: &str = env!("COVERSLIP_RUSTC");
const LICENCE: &str = "MIT OR Apache-2.0";

/// What is described.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Product {
    Library,
    /// Built from the same sources as the library; what it links is on that list.
    Worker,
    Command,
}

impl Product {
    /// Its name in the list's column.
    fn column(self) -> &'static str {
        match self {
            Product::Library | Product::Worker => "library",
            Product::Command => "command",
        }
    }

    /// The crate that it is built from.
    fn root(self) -> &'static str {
        match self {
            Product::Library | Product::Worker => "coverslip",
            Product::Command => "coverslip-lab",
        }
    }

    /// The name of the file that describes it.
    pub(super) fn file(self) -> &'static str {
        match self {
            Product::Library => "libcoverslip.cdx.json",
            Product::Worker => "coverslip-worker.cdx.json",
            Product::Command => "coverslip.cdx.json",
        }
    }
}

/// A line of the list.
struct Component<'l> {
    name: &'l str,
    version: &'l str,
    licence: &'l str,
    /// Of the package as crates.io has it; `None`: a crate of this repository.
    sha256: Option<&'l str>,
    in_products: &'l str,
    /// `name@version`, separated by blanks.
    needs: &'l str,
}

impl<'l> Component<'l> {
    fn all() -> impl Iterator<Item = Component<'l>> {
        COMPONENTS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next();
            let (name, version, licence, sha256) = (next()?, next()?, next()?, next()?);
            let sha256 = Some(sha256).filter(|sha256| *sha256 != "-");
            Some(Component { name, version, licence, sha256, in_products: next()?, needs: next()? })
        })
    }

    fn is_in(&self, product: Product) -> bool {
        self.in_products.split(' ').any(|column| column == product.column())
    }

    fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn described(&self) -> Value {
        let mut value = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "licenses": [{ "expression": self.licence }],
        });
        if let Some(sha256) = self.sha256 {
            value["purl"] = json!(format!("pkg:cargo/{}@{}", self.name, self.version));
            value["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
        }
        value
    }
}

/// The bill of `product`, installed under `name`, whose file has this digest.
pub(super) fn sbom(product: Product, name: &str, digest: Digest) -> String {
    let linked: Vec<Component<'_>> = Component::all().filter(|component| component.is_in(product)).collect();
    let (root, parts): (Vec<_>, Vec<_>) = linked.iter().partition(|component| component.name == product.root());
    let standard = json!({
        "type": "library",
        "bom-ref": format!("rust-std@{RUSTC}"),
        "name": "rust-std",
        "version": RUSTC,
        "description": "the standard library of Rust, as its compiler brings it",
        "licenses": [{ "expression": LICENCE }],
    });
    let components: Vec<Value> = parts.iter().map(|part| part.described()).chain([standard]).collect();
    let known = |reference: &&str| linked.iter().any(|component| component.reference() == **reference);
    let arrows = linked.iter().map(|component| {
        let needs: Vec<&str> = component.needs.split(' ').filter(known).collect();
        json!({ "ref": component.reference(), "dependsOn": needs })
    });
    let kind = if product == Product::Library { "library" } else { "application" };
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(digest),
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{ "type": "application", "name": "coverslip install", "version": VERSION }] },
            "component": {
                "type": kind,
                "bom-ref": root.first().map(|root| root.reference()),
                "name": name,
                "version": VERSION,
                "licenses": [{ "expression": LICENCE }],
                "hashes": [{ "alg": "SHA-256", "content": digest.to_string() }],
            },
        },
        "components": components,
        "dependencies": arrows.collect::<Vec<_>>(),
    });
    // Text and numbers always have a form in JSON.
    format!("{bill:#}\n")
}

/// A UUID (version 8: of one's own making) from the file's digest: another file is another bill.
fn serial_number(Digest(digest): Digest) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bill(product: Product) -> Value {
        serde_json::from_str(&sbom(product, "a.so", Digest([0xab; 32]))).unwrap()
    }

    fn references(bill: &Value) -> BTreeSet<&str> {
        bill["components"].as_array().unwrap().iter().map(|part| part["bom-ref"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_bill_names_what_is_linked_and_nothing_else() {
        let (library, command) = (bill(Product::Library), bill(Product::Command));
        let has = |bill: &Value, name: &str| references(bill).iter().any(|part| part.starts_with(&format!("{name}@")));
        for (name, in_library, in_command) in [
            ("rten", true, true),
            ("coverslip-bundle", true, true),
            ("minisign-verify", true, true),
            ("rust-std", true, true),
            ("minisign", false, true),
            ("clap", false, true),
            ("parquet", false, true),
            ("serde_derive", false, false),
            ("coverslip-testkit", false, false),
        ] {
            assert_eq!((has(&library, name), has(&command, name)), (in_library, in_command), "{name}");
        }
        assert_eq!(library["metadata"]["component"]["bom-ref"], concat!("coverslip@", env!("CARGO_PKG_VERSION")));
        assert_eq!(library["serialNumber"], "urn:uuid:abababab-abab-8bab-abab-abababababab");
    }

    #[test]
    fn every_arrow_ends_at_a_part_with_a_licence() {
        for product in [Product::Library, Product::Command] {
            let bill = bill(product);
            let mut parts = references(&bill);
            assert_eq!(parts.len(), bill["components"].as_array().unwrap().len(), "no part twice");
            parts.insert(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
            for arrow in bill["dependencies"].as_array().unwrap() {
                assert!(parts.contains(arrow["ref"].as_str().unwrap()), "{arrow}");
                assert!(arrow["dependsOn"].as_array().unwrap().iter().all(|to| parts.contains(to.as_str().unwrap())));
            }
            for part in bill["components"].as_array().unwrap() {
                assert!(!part["licenses"][0]["expression"].as_str().unwrap().contains('/'), "not SPDX: {part}");
                assert_eq!(part.get("purl").is_some(), part.get("hashes").is_some(), "{part}");
            }
        }
    }
}
