//! A component out of an OCI image layout on disk (the folder that `oras`, `wkg`, `skopeo` and `crane` write): found by its
//! media type, and held against the digest and size of every step that leads to it.

use crate::{Digest, registry::COMPONENT_BYTES_MAX};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes of an index and of a manifest, as registries take them.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Indexes that lead from one to the next.
const DEPTH_MAX: usize = 4;
/// The version of the layout that is known (OCI image layout, section "oci-layout file").
const LAYOUT_VERSION: &str = "1.0.0";
const INDEX_KINDS: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// The media types of a layer that is a component: the one of the CNCF's artifact guide, and those from before it.
const COMPONENT_KINDS: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];
const REFERENCE: &str = "org.opencontainers.image.ref.name";
const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
const DESCRIPTION: &str = "org.opencontainers.image.description";

/// A component that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Of them.
    pub digest: Digest,
    /// As the manifest, or the place in the index, says: the version, else the tag; empty where neither is said.
    pub version: String,
    /// As the manifest says; empty where it does not.
    pub description: String,
}

/// Why a folder gives no component.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no layout, or of another version.
    #[error("{}: {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Several images, or none by that tag.
    #[error("{0}")]
    Choice(String),
}

#[derive(Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The component of the layout in `folder`: of the image with the tag `tag`, or of the only one.
///
/// # Errors
/// When a file cannot be read or is not what its digest and size say, when there is no such image or none is meant, or when
/// it holds no component; says which file and what was expected.
pub fn component(folder: &Path, tag: Option<&str>) -> Result<Found, LayoutError> {
    let marker = folder.join("oci-layout");
    let layout: Layout = json(&marker, &read(&marker, MANIFEST_BYTES_MAX)?)?;
    if layout.version != LAYOUT_VERSION {
        return Err(shape(
            &marker,
            format!("it is a layout of version {}; {LAYOUT_VERSION} is known", layout.version),
        ));
    }
    let index = folder.join("index.json");
    let index: Index = json(&index, &read(&index, MANIFEST_BYTES_MAX)?)?;
    let mut place = choose(&index.manifests, tag)?.clone();
    let mut annotations = place.annotations.clone();
    for _ in 0..DEPTH_MAX {
        let (path, bytes) = blob(folder, &place, MANIFEST_BYTES_MAX)?;
        if INDEX_KINDS.contains(&place.media_type.as_str()) {
            let index: Index = json(&path, &bytes)?;
            place = choose(&index.manifests, None)?.clone();
            annotations.extend(place.annotations.clone());
            continue;
        }
        let manifest: Manifest = json(&path, &bytes)?;
        annotations.extend(manifest.annotations.clone());
        return found(folder, &path, &manifest, &annotations);
    }
    Err(LayoutError::Choice(format!("the index leads through more than {DEPTH_MAX} indexes")))
}

/// The descriptor that is meant.
fn choose<'d>(all: &'d [Descriptor], tag: Option<&str>) -> Result<&'d Descriptor, LayoutError> {
    let of = |one: &'d Descriptor| one.annotations.get(REFERENCE).map(String::as_str);
    let tags = || {
        all.iter().map(|one| format!("`{}`", of(one).unwrap_or(&one.digest))).collect::<Vec<_>>().join(", ")
    };
    // Some write `NAME:TAG` there.
    let is = |name: &str, tag: &str| name == tag || name.rsplit(':').next() == Some(tag);
    match (tag, all) {
        (Some(tag), _) => {
            all.iter().find(|one| one.digest == tag || of(one).is_some_and(|name| is(name, tag))).ok_or_else(
                || LayoutError::Choice(format!("the layout has no image `{tag}`; it has {}", tags())),
            )
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(LayoutError::Choice("the layout has no images".to_owned())),
        (None, _) => Err(LayoutError::Choice(format!(
            "the layout has several images; say which with --tag: {}",
            tags()
        ))),
    }
}

fn found(
    folder: &Path,
    path: &Path,
    manifest: &Manifest,
    annotations: &BTreeMap<String, String>,
) -> Result<Found, LayoutError> {
    let is_component = |layer: &&Descriptor| {
        let is_named = || layer.annotations.get(TITLE).is_some_and(|title| title.ends_with(".wasm"));
        COMPONENT_KINDS.contains(&layer.media_type.as_str()) || is_named()
    };
    let layers: Vec<&Descriptor> = manifest.layers.iter().filter(is_component).collect();
    let layer = match layers.as_slice() {
        [layer] => *layer,
        [] => {
            return Err(shape(path, format!("it has no layer that is a component: {}", described(manifest))));
        }
        several => {
            let reason = format!("it has {} layers that are components; one is expected", several.len());
            return Err(shape(path, reason));
        }
    };
    let (_, bytes) = blob(folder, layer, COMPONENT_BYTES_MAX as u64)?;
    let said = |name: &str| annotations.get(name).cloned().unwrap_or_default();
    let tag = annotations.get(REFERENCE).and_then(|name| name.rsplit(':').next()).unwrap_or_default();
    let version = Some(said(VERSION)).filter(|version| !version.is_empty()).unwrap_or_else(|| tag.to_owned());
    Ok(Found { digest: Digest::of(&bytes), bytes, version, description: said(DESCRIPTION) })
}

/// What a manifest has, for whoever expected a component.
fn described(manifest: &Manifest) -> String {
    let layers: Vec<&str> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect();
    let layers =
        if layers.is_empty() { "no layers".to_owned() } else { format!("layers of {}", layers.join(", ")) };
    let config = manifest.config.as_ref().map(|config| config.media_type.as_str()).unwrap_or_default();
    let kind = manifest.artifact_type.as_deref().unwrap_or(config);
    format!("it is `{kind}` with {layers}; expected one of {}", COMPONENT_KINDS.join(", "))
}

/// A blob whose size and digest are what its descriptor says.
fn blob(folder: &Path, descriptor: &Descriptor, bytes_max: u64) -> Result<(PathBuf, Vec<u8>), LayoutError> {
    let digest: Digest = descriptor.digest.parse().map_err(|error: crate::DigestError| {
        shape(&folder.join("index.json"), format!("`{}`: {error}", descriptor.digest.escape_debug()))
    })?;
    // Only hexadecimal digits get into the path.
    let path = folder.join("blobs").join("sha256").join(digest.hex());
    if descriptor.size > bytes_max {
        return Err(shape(&path, format!("it has {} bytes; at most {bytes_max} are read", descriptor.size)));
    }
    let bytes = read(&path, bytes_max)?;
    if bytes.len() as u64 != descriptor.size {
        return Err(shape(
            &path,
            format!("it has {} bytes, its descriptor says {}", bytes.len(), descriptor.size),
        ));
    }
    let actual = Digest::of(&bytes);
    if actual != digest {
        return Err(shape(&path, format!("its digest is {actual}, its descriptor says {digest}")));
    }
    Ok((path, bytes))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LayoutError> {
    let failed = |error: io::Error| LayoutError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(shape(path, format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn json<T: for<'d> Deserialize<'d>>(path: &Path, bytes: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|error| shape(path, error.to_string()))
}

fn shape(path: &Path, reason: String) -> LayoutError {
    LayoutError::Shape { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
            fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            folder
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn blob(&self, kind: &str, bytes: &[u8], annotations: Value) -> Value {
            let digest = Digest::of(bytes);
            fs::write(self.path().join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len(), "annotations": annotations })
        }

        fn index(&self, manifests: &[Value]) {
            let index = json!({ "schemaVersion": 2, "manifests": manifests });
            fs::write(self.path().join("index.json"), index.to_string()).unwrap();
        }

        /// An image of one layer, and its place in the index.
        fn image(&self, kind: &str, bytes: &[u8], layer: Value, place: Value) -> Value {
            let layer = self.blob(kind, bytes, layer);
            let config = self.blob("application/vnd.wasm.config.v0+json", b"{}", json!({}));
            let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer],
                "annotations": { VERSION: "1.2.0", DESCRIPTION: "It counts." } });
            self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes(), place)
        }

        #[track_caller]
        fn refuses(&self, tag: Option<&str>, parts: &[&str]) {
            let error = component(self.path(), tag).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn a_component_is_found_in_what_tools_write() {
        for (kind, layer) in [
            ("application/wasm", json!({})),
            ("application/vnd.wasm.content.layer.v1+wasm", json!({})),
            ("application/octet-stream", json!({ TITLE: "tool.wasm" })),
        ] {
            let folder = Folder::new();
            folder.index(&[folder.image(kind, b"\0asm", layer, json!({ REFERENCE: "latest" }))]);
            let found = component(folder.path(), None).unwrap();
            assert_eq!((found.bytes.as_slice(), found.version.as_str()), (&b"\0asm"[..], "1.2.0"), "{kind}");
            assert_eq!((found.digest, found.description.as_str()), (Digest::of(b"\0asm"), "It counts."));
        }
    }

    #[test]
    fn of_several_images_one_is_chosen_by_its_tag_also_through_an_index() {
        let folder = Folder::new();
        let first = folder.image("application/wasm", b"1", json!({}), json!({}));
        let index = json!({ "schemaVersion": 2, "manifests": [first] }).to_string();
        let nested = folder.blob(INDEX_KINDS[0], index.as_bytes(), json!({ REFERENCE: "a.test/tool:v1" }));
        let second = folder.image("application/wasm", b"2", json!({}), json!({ REFERENCE: "v2" }));
        folder.index(&[nested, second]);
        assert_eq!(component(folder.path(), Some("v1")).unwrap().bytes, b"1");
        assert_eq!(component(folder.path(), Some("v2")).unwrap().bytes, b"2");
        folder.refuses(None, &["several images", "--tag", "`a.test/tool:v1`", "`v2`"]);
        folder.refuses(Some("v3"), &["no image `v3`", "`v2`"]);
    }

    #[test]
    fn what_is_not_what_its_digest_says_is_refused() {
        let folder = Folder::new();
        folder.index(&[folder.image("application/wasm", b"right", json!({}), json!({}))]);
        let path = folder.path().join("blobs/sha256").join(Digest::of(b"right").hex());
        fs::write(&path, b"wrong").unwrap();
        folder.refuses(None, &["its digest is sha256:", &Digest::of(b"right").to_string()]);
        fs::write(&path, b"longer").unwrap();
        folder.refuses(None, &["it has 6 bytes, its descriptor says 5"]);
        fs::remove_file(&path).unwrap();
        folder.refuses(None, &[&Digest::of(b"right").hex()]);
    }

    #[test]
    fn what_is_no_layout_or_holds_no_component_says_so() {
        let folder = Folder::new();
        folder.index(&[]);
        folder.refuses(None, &["no images"]);
        folder.index(&[folder.image("application/vnd.oci.image.layer.v1.tar", b"x", json!({}), json!({}))]);
        folder.refuses(
            None,
            &["no layer that is a component", "application/vnd.oci.image.layer.v1.tar", "application/wasm"],
        );
        folder.index(&[json!({ "digest": "sha256:../../../etc/passwd", "size": 1 })]);
        folder.refuses(None, &["a digest is"]);
        folder.index(&[json!({ "digest": Digest::of(b"").to_string(), "size": MANIFEST_BYTES_MAX + 1 })]);
        folder.refuses(None, &["at most"]);
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        folder.refuses(None, &["version 2.0.0"]);
        fs::remove_file(folder.path().join("oci-layout")).unwrap();
        folder.refuses(None, &["oci-layout"]);
    }

    #[test]
    fn indexes_that_lead_in_circles_end() {
        let folder = Folder::new();
        let mut inner = folder.image("application/wasm", b"1", json!({}), json!({}));
        for _ in 0..DEPTH_MAX {
            let index = json!({ "manifests": [inner] }).to_string();
            inner = folder.blob(INDEX_KINDS[0], index.as_bytes(), json!({}));
        }
        folder.index(&[inner]);
        folder.refuses(None, &["more than 4 indexes"]);
    }
}
