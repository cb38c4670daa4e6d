//! The web page: files of `page/` and one vendored player, embedded in the binary and served as they are.
//!
//! Plain HTML, CSS and ES modules: no build step, nothing fetched from elsewhere. `/` is the page, everything else lies
//! under `/console/`. Not here: the API that the page speaks to, and any state; the router can be nested or merged
//! anywhere as long as it answers at the root.
//!
//! Each answer has an entity tag (RFC 9110, 8.8.3). Files of ours are revalidated each time, so that a new binary is a
//! new page at once; a vendored file has its version in its name and may be kept.
//!
//! The policy of [`CONTENT_SECURITY_POLICY`] allows no inline script or style and no foreign origin.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// What the page may load and reach: itself, its API and sockets, and media that it builds from them (`blob:`).
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// A browser may keep a vendored file without asking: its name changes with its version.
const VENDOR_CACHE_CONTROL: &str = "public, max-age=31536000, immutable";
const PAGE_CACHE_CONTROL: &str = "no-cache";

/// One embedded file.
struct Asset {
    /// Absolute path of its URL.
    path: &'static str,
    content_type: &'static str,
    cache_control: &'static str,
    body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! page {
    ($path:expr, $file:literal, $content_type:expr) => {
        Asset {
            path: $path,
            content_type: $content_type,
            cache_control: PAGE_CACHE_CONTROL,
            body: include_bytes!(concat!("page/", $file)),
        }
    };
    ($file:literal, $content_type:expr) => {
        page!(concat!("/console/", $file), $file, $content_type)
    };
}

macro_rules! vendor {
    ($file:literal, $content_type:expr) => {
        Asset {
            path: concat!("/console/vendor/", $file),
            content_type: $content_type,
            cache_control: VENDOR_CACHE_CONTROL,
            body: include_bytes!(concat!("vendor/", $file)),
        }
    };
}

static ASSETS: &[Asset] = &[
    page!("/", "index.html", HTML),
    page!("style.css", CSS),
    page!("favicon.svg", SVG),
    page!("main.js", JS),
    page!("alarms.js", JS),
    page!("api.js", JS),
    page!("ask.js", JS),
    page!("cert-issued.js", JS),
    page!("cert-own.js", JS),
    page!("cert-proving.js", JS),
    page!("cert-section.js", JS),
    page!("certificates.js", JS),
    page!("copy.js", JS),
    page!("device.js", JS),
    page!("diagnosis.js", JS),
    page!("dom.js", JS),
    page!("i18n.js", JS),
    page!("map.js", JS),
    page!("notices.js", JS),
    page!("panel.js", JS),
    page!("pem.js", JS),
    page!("play-error.js", JS),
    page!("play-flv.js", JS),
    page!("play-fmp4.js", JS),
    page!("play-webrtc.js", JS),
    page!("playback.js", JS),
    page!("ptz-more.js", JS),
    page!("ptz.js", JS),
    page!("settings.js", JS),
    page!("sha256.js", JS),
    page!("spaces.js", JS),
    page!("tile.js", JS),
    page!("timeline.js", JS),
    page!("tree.js", JS),
    page!("wall.js", JS),
    vendor!("mpegts-1.8.2.js", JS),
    vendor!("mpegts-1.8.2.LICENSE", TEXT),
];

/// Strong entity tags, in the order of [`ASSETS`]: the first 16 bytes of the SHA-256 of the body, quoted.
static ENTITY_TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    ASSETS
        .iter()
        .map(|asset| {
            let digest = Sha256::digest(asset.body);
            let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
            HeaderValue::from_str(&format!("\"{hex}\"")).expect("hex digits and quotes are visible")
        })
        .collect()
});

/// Routes of the page (`/`) and its files (`/console/…`), for GET and HEAD.
///
/// Needs no state; merge it into the router of the API.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    ASSETS
        .iter()
        .zip(ENTITY_TAGS.iter())
        .fold(Router::new(), |router, (asset, tag)| {
            router.route(
                asset.path,
                get(move |request: HeaderMap| async move { asset.answer(tag, &request) }),
            )
        })
}

impl Asset {
    fn answer(&self, tag: &HeaderValue, request: &HeaderMap) -> Response {
        let headers: [(HeaderName, HeaderValue); 6] = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.content_type),
            ),
            (
                header::CACHE_CONTROL,
                HeaderValue::from_static(self.cache_control),
            ),
            (header::ETAG, tag.clone()),
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(CONTENT_SECURITY_POLICY),
            ),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (
                header::REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            ),
        ];
        if is_known(request, tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.body).into_response()
    }
}

/// Whether the browser already has this body: weak comparison against `If-None-Match` (RFC 9110, 13.1.2).
fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|candidate| candidate.trim().trim_start_matches("W/"))
        .any(|candidate| candidate == "*" || candidate.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn get_path(path: &str, if_none_match: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = if_none_match {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        router::<()>()
            .oneshot(request.body(Body::empty()).expect("path is a URI"))
            .await
            .expect("the router is infallible")
    }

    #[tokio::test]
    async fn every_file_is_served_whole_with_its_type_and_policy() {
        for asset in ASSETS {
            let response = get_path(asset.path, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{}", asset.path);
            let headers = response.headers().clone();
            assert_eq!(headers[header::CONTENT_TYPE], asset.content_type);
            assert_eq!(
                headers[header::CONTENT_SECURITY_POLICY],
                CONTENT_SECURITY_POLICY
            );
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let body = to_bytes(response.into_body(), usize::MAX)
                .await
                .expect("body is in memory");
            assert_eq!(body, asset.body, "{}", asset.path);
        }
    }

    #[tokio::test]
    async fn a_known_body_is_not_sent_again() {
        let tag = get_path("/", None).await.headers()[header::ETAG]
            .to_str()
            .expect("ASCII")
            .to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            "*".to_owned(),
        ] {
            let response = get_path("/", Some(&known)).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            let body = to_bytes(response.into_body(), usize::MAX)
                .await
                .expect("body is in memory");
            assert!(body.is_empty());
        }
        assert_eq!(
            get_path("/", Some("\"other\"")).await.status(),
            StatusCode::OK
        );
        assert_eq!(
            get_path("/", Some(tag.trim_matches('"'))).await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        for path in [
            "/console/",
            "/console/mod.rs",
            "/console/../Cargo.toml",
            "/index.html",
        ] {
            assert_eq!(
                get_path(path, None).await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    /// A module that is imported or a file that is linked but not embedded would show as a blank page.
    #[test]
    fn what_the_page_refers_to_is_embedded() {
        let served: BTreeSet<&str> = ASSETS.iter().map(|a| a.path).collect();
        let mut found = 0;
        for asset in ASSETS
            .iter()
            .filter(|a| a.cache_control == PAGE_CACHE_CONTROL)
        {
            let text = std::str::from_utf8(asset.body).expect("page files are UTF-8");
            let imports = text
                .split("from './")
                .skip(1)
                .filter_map(|rest| rest.split('\'').next());
            for name in imports {
                let path = format!("/console/{name}");
                assert!(
                    served.contains(path.as_str()),
                    "{} imports {name}",
                    asset.path
                );
                found += 1;
            }
            for (quote, start) in [('"', "\"/console/"), ('\'', "'/console/")] {
                let links = text
                    .split(start)
                    .skip(1)
                    .filter_map(|rest| rest.split(quote).next());
                for name in links {
                    let path = format!("/console/{name}");
                    assert!(
                        served.contains(path.as_str()),
                        "{} links {name}",
                        asset.path
                    );
                    found += 1;
                }
            }
        }
        assert!(
            found > 20,
            "only {found} references found: has their form changed?"
        );
    }

    #[test]
    fn every_file_of_the_folders_is_embedded() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
        let files = ["page", "vendor"].iter().flat_map(|folder| {
            std::fs::read_dir(here.join(folder))
                .expect("folder is in the package")
                .map(|entry| entry.expect("readable").path())
        });
        for file in files {
            let body = std::fs::read(&file).expect("readable");
            assert!(
                ASSETS.iter().any(|a| a.body == body),
                "{} is not in ASSETS",
                file.display()
            );
        }
    }

    /// The policy forbids them, and a browser would only say so on its console.
    #[test]
    fn the_page_has_no_inline_script_or_style() {
        let html = include_str!("page/index.html");
        assert!(!html.contains("style="));
        assert!(!html.contains("<style"));
        assert!(!html.contains(" onclick=") && !html.contains("javascript:"));
        for script in html.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').expect("a tag ends");
            assert!(tag.contains("src=") && rest.starts_with("</script>"));
        }
    }

    /// Both languages name the same things: a key that one lacks would be shown in the other's words.
    #[test]
    fn chinese_has_every_english_key() {
        let text = include_str!("page/i18n.js");
        let (en, zh) = text.split_once("const zh = {").expect("two dictionaries");
        let keys = |part: &'static str| -> BTreeSet<&'static str> {
            part.split('\'')
                .zip(part.split('\'').skip(1))
                .filter(|(_, after)| after.starts_with(": "))
                .map(|(key, _)| key)
                .collect()
        };
        let (en, zh) = (keys(en), keys(zh));
        assert!(en.len() > 100, "only {} keys found", en.len());
        let missing: Vec<_> = en.difference(&zh).collect();
        assert!(missing.is_empty(), "not in Chinese: {missing:?}");
    }

    /// The page tells stages apart by the beginning of the node's message.
    #[test]
    fn the_page_knows_every_stage_of_a_failed_view() {
        use crate::id::Ssrc;
        use crate::session::ViewFailure;

        let failures = [
            ViewFailure::NoAnswer,
            ViewFailure::Rejected {
                status: 488,
                reason: "Not Acceptable Here".into(),
            },
            ViewFailure::BadAnswer { what: "no m line" },
            ViewFailure::NoConnection,
            ViewFailure::NoRtp,
            ViewFailure::ForeignSsrc { seen: Ssrc(1) },
            ViewFailure::NoProgramStream,
            ViewFailure::NoPsm,
            ViewFailure::NoKeyFrame,
            ViewFailure::UnsupportedCodec { stream_type: 0x80 },
            ViewFailure::EndedByDevice,
            ViewFailure::DeviceLost,
        ];
        let known = include_str!("page/play-error.js");
        let words = include_str!("page/i18n.js");
        for failure in failures {
            let stage = failure.stage();
            assert!(failure.to_string().starts_with(stage), "{failure}");
            assert!(
                known.contains(&format!("'{stage}'")),
                "{stage} is not in STAGES"
            );
            assert!(
                words.contains(&format!("'stage.{stage}'")),
                "{stage} has no words"
            );
        }
    }
}
