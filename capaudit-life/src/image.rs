//! What an engine has under an image's name, and which engine it is.

use std::io;

use serde::Deserialize;

use crate::{
    engine::{OrderError, output},
    state::{Image, hexadecimal},
};

/// What `image inspect` prints, as far as it is needed: Docker's and Podman's are alike.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

/// Asks for the image that has a name or an id now; `None` if the engine has none, or does not answer.
///
/// # Errors
///
/// The client cannot be executed, or answers with something else.
pub fn known(client: &[String], name: &str) -> io::Result<Option<Image>> {
    if name.is_empty() || name.starts_with('-') {
        return Ok(None);
    }
    match output(client, &["image", "inspect", name]) {
        Ok(text) => parsed(name, &text).map_err(io::Error::other),
        Err(OrderError::Failed { .. }) => Ok(None),
        Err(OrderError::System(error)) => Err(error),
    }
}

/// The engine and its release, as in `docker 20.10.24`; the name alone if it does not tell.
///
/// # Errors
///
/// The client cannot be executed.
pub fn engine(client: &str) -> io::Result<String> {
    // Podman needs no server to be one.
    let format = match client {
        "podman" => "{{.Client.Version}}",
        _ => "{{.Server.Version}}",
    };
    match output(&[client.to_owned()], &["version", "--format", format]) {
        Ok(release) => Ok(format!("{client} {}", release.trim()).trim().to_owned()),
        Err(OrderError::Failed { .. }) => Ok(client.to_owned()),
        Err(OrderError::System(error)) => Err(error),
    }
}

fn parsed(name: &str, text: &str) -> serde_json::Result<Option<Image>> {
    let inspected: Vec<Inspected> = serde_json::from_str(text)?;
    Ok(inspected.into_iter().next().map(|inspected| {
        let mut digests = inspected.repo_digests.unwrap_or_default();
        digests.sort();
        Image {
            name: name.to_owned(),
            id: hexadecimal(&inspected.id),
            digests,
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_its_engine_says() -> serde_json::Result<()> {
        let text = r#"[{"Id": "sha256:5f", "RepoDigests": ["b@sha256:2", "a@sha256:1"]}]"#;
        let image = parsed("db:1", text)?.unwrap_or_default();
        assert_eq!((&*image.name, &*image.id), ("db:1", "5f"));
        assert_eq!(image.digests, ["a@sha256:1", "b@sha256:2"]);
        assert_eq!(parsed("db:1", "[]")?, None);
        let podman = parsed("db:1", r#"[{"Id": "5f", "RepoDigests": null}]"#)?;
        assert!(podman.is_some_and(|image| image.id == "5f" && image.digests.is_empty()));
        Ok(())
    }
}
