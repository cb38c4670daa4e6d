//! Who may: passwords, tokens, logins and pauses after failures.
//!
//! bvcsp 1.1. A password is never sent or stored: a login proves that it knows `hex(sha256(user "_" password))`, either as
//! it is (`SHA256:`) or mixed with the time (`SHA256_T:`). A token is the id of a login and its end, signed with a secret
//! that is kept in the store, so that tokens survive a restart; the list of logins, kept there too, is what logout
//! shortens.
//!
//! Not done: roles beyond `admin`, tokens made by third parties from an application key.
//!
//! Bounds: [`limits::LOGINS_MAX`], [`limits::LOGIN_FAILURES_MAX`], [`limits::LOGIN_SOURCES_MAX`],
//! [`limits::LOGIN_CLOCK_SKEW_S_MAX`], [`limits::TOKEN_BYTES_MAX`].

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use sha2::{Digest, Sha256};

use super::access::Lists;
use crate::limits;
use crate::store::{self, LoginRow, Store, User};

/// The user that is made at the first start.
pub const ADMIN: &str = "admin";

const TOKEN_SECRET: &str = "token";
const TOKEN_VERSION: u8 = 1;
/// Version, id of the login, end in Unix seconds.
const TOKEN_BODY_BYTES: usize = 1 + 8 + 8;
const TOKEN_TAG_BYTES: usize = 32;

/// A valid token, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: Arc<str>,
    /// Identifies the login; it stays when the token is refreshed. Never 0.
    pub token_id: u64,
    pub admin: bool,
}

/// A token just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    /// Seconds until it ends.
    pub timeout_s: u64,
    pub login: Login,
}

/// What a login shows to prove that it knows the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `SHA256:`, hex digits as sent.
    Hash(String),
    /// `SHA256_T:` with its `timestamp` in Unix seconds.
    TimedHash {
        hash: String,
        timestamp: u64,
    },
    Plain(String),
}

impl Proof {
    /// Reads `password_encrypted`. `None`: neither form, or the time is missing.
    pub fn parse(password_encrypted: &str, timestamp: Option<u64>) -> Option<Proof> {
        if let Some(hash) = password_encrypted.strip_prefix("SHA256_T:") {
            let hash = hash.to_ascii_lowercase();
            return timestamp.map(|timestamp| Proof::TimedHash { hash, timestamp });
        }
        let hash = password_encrypted.strip_prefix("SHA256:")?;
        Some(Proof::Hash(hash.to_ascii_lowercase()))
    }
}

/// Why a login was refused.
#[derive(Debug)]
pub enum LoginError {
    /// Unknown user or wrong password; which of them is not said.
    Wrong,
    /// Too many failures of this source: refused for a while, right or wrong.
    Paused {
        seconds: u64,
    },
    /// The `timestamp` is too far from our clock.
    Clock {
        ours: u64,
    },
    /// The black or white list says no.
    Barred,
    Store(store::Error),
}

/// Checks logins and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    key: hmac::Key,
    lifetime: Duration,
    state: Mutex<State>,
}

struct State {
    users: HashMap<Arc<str>, User>,
    logins: HashMap<u64, Active>,
    pauses: Pauses,
    lists: Lists,
}

struct Active {
    user: Arc<str>,
    expires_unix_s: u64,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// Reads users and logins. At the first start the user [`ADMIN`] is made, with `first_password` or a random one;
    /// that one is returned, to be shown once.
    pub async fn open(
        store: Store,
        lifetime: Duration,
        first_password: Option<String>,
    ) -> Result<(Auth, Option<String>), store::Error> {
        let random: [u8; 32] = store.random();
        let secret = store.secret(TOKEN_SECRET, || random.to_vec()).await?;
        let now = unix_s();
        let mut users = store.users().await?;
        let mut shown = None;
        if users.is_empty() {
            let password = first_password.unwrap_or_else(|| {
                let password = random_password(&store);
                shown = Some(password.clone());
                password
            });
            let user = User {
                name: ADMIN.into(),
                proof: proof_of(ADMIN, &password),
                admin: true,
                enabled: true,
                created_unix_s: now as i64,
                password_unix_s: now as i64,
            };
            store.put_user(&user).await?;
            users.push(user);
        }
        let logins = store.logins(now as i64).await?;
        let state = State {
            users: users
                .into_iter()
                .map(|user| (user.name.as_str().into(), user))
                .collect(),
            logins: logins
                .into_iter()
                .map(|row| {
                    let active = Active {
                        user: row.user.into(),
                        expires_unix_s: row.expires_unix_s as u64,
                    };
                    (row.token_id, active)
                })
                .collect(),
            pauses: Pauses::default(),
            lists: Lists::read(&store).await?,
        };
        let auth = Auth {
            inner: Arc::new(Inner {
                store,
                key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
                lifetime,
                state: Mutex::new(state),
            }),
        };
        Ok((auth, shown))
    }

    /// Whose token this is, if it is one of ours, has not ended and was not logged out. About a microsecond.
    pub fn check(&self, token: &str) -> Option<Login> {
        let (token_id, expires) = self.read_token(token)?;
        let now = unix_s();
        if expires <= now {
            return None;
        }
        let state = self.state();
        let active = state.logins.get(&token_id)?;
        if active.expires_unix_s <= now {
            return None;
        }
        let user = state.users.get(&active.user).filter(|user| user.enabled)?;
        Some(Login {
            user: Arc::clone(&active.user),
            token_id,
            admin: user.admin,
        })
    }

    /// Makes a token for who proves to know a password. `source` is paused after too many failures.
    pub async fn login(
        &self,
        user: &str,
        proof: &Proof,
        source: IpAddr,
    ) -> Result<Issued, LoginError> {
        let login = {
            let now = Instant::now();
            let mut state = self.state();
            if let Some(seconds) = state.pauses.pause_s(source, now) {
                return Err(LoginError::Paused { seconds });
            }
            if let Proof::TimedHash { timestamp, .. } = proof {
                let ours = unix_s();
                if ours.abs_diff(*timestamp) > limits::LOGIN_CLOCK_SKEW_S_MAX {
                    return Err(LoginError::Clock { ours });
                }
            }
            let found = state.users.get_key_value(user);
            let found = found.map(|(name, user)| (Arc::clone(name), user));
            let found = found.filter(|(_, known)| known.enabled && self.proves(known, proof));
            let Some((name, known)) = found else {
                state.pauses.fail(source, now);
                return Err(LoginError::Wrong);
            };
            if !state.lists.admits(user) {
                return Err(LoginError::Barred);
            }
            let login = Login {
                user: name,
                token_id: self.new_token_id(&state),
                admin: known.admin,
            };
            state.pauses.forgive(source);
            login
        };
        self.issue(login).await.map_err(LoginError::Store)
    }

    /// A new token of the same login. The old one stays valid until its own end.
    pub async fn refresh(&self, login: &Login) -> Result<Issued, store::Error> {
        self.issue(login.clone()).await
    }

    /// Ends a login: none of its tokens is valid any more.
    pub async fn logout(&self, login: &Login) -> Result<(), store::Error> {
        self.state().logins.remove(&login.token_id);
        self.inner.store.remove_login(login.token_id).await
    }

    /// Lets the black and white lists count; answers which logins ended with that.
    pub async fn set_lists(&self, lists: Lists) -> Result<Vec<u64>, store::Error> {
        let ended: Vec<u64> = {
            let mut state = self.state();
            let barred = state
                .logins
                .iter()
                .filter(|(_, active)| !lists.admits(&active.user));
            let ended: Vec<u64> = barred.map(|(id, _)| *id).collect();
            for id in &ended {
                state.logins.remove(id);
            }
            state.lists = lists;
            ended
        };
        for token_id in &ended {
            self.inner.store.remove_login(*token_id).await?;
        }
        Ok(ended)
    }

    /// Sets a user's own password, given as the hash that logins prove. False: the old one is not right.
    ///
    /// Logins of the user other than this one end; they are answered.
    pub async fn change_password(
        &self,
        login: &Login,
        old: &Proof,
        new_proof: String,
    ) -> Result<Option<Vec<u64>>, store::Error> {
        let user = {
            let state = self.state();
            let known = state.users.get(&login.user);
            match known.filter(|known| self.proves(known, old)) {
                Some(known) => User {
                    proof: new_proof,
                    password_unix_s: unix_s() as i64,
                    ..known.clone()
                },
                None => return Ok(None),
            }
        };
        self.inner.store.put_user(&user).await?;
        let ended: Vec<u64> = {
            let mut state = self.state();
            let others = state.logins.iter();
            let others = others.filter(|(id, a)| a.user == login.user && **id != login.token_id);
            let ended: Vec<u64> = others.map(|(id, _)| *id).collect();
            for id in &ended {
                state.logins.remove(id);
            }
            state.users.insert(Arc::clone(&login.user), user);
            ended
        };
        for token_id in &ended {
            self.inner.store.remove_login(*token_id).await?;
        }
        Ok(Some(ended))
    }

    /// Facts about a user, for the one who is logged in.
    pub fn user(&self, name: &str) -> Option<User> {
        self.state().users.get(name).cloned()
    }

    /// A text that only this installation can make for `what`, in hex. Whoever shows it was given it.
    pub fn capability(&self, what: &str) -> String {
        let tag = hmac::sign(&self.inner.key, format!("capability {what}").as_bytes());
        hex(&tag.as_ref()[..16])
    }

    pub fn has_capability(&self, what: &str, shown: &str) -> bool {
        self.same(&self.capability(what), shown)
    }

    async fn issue(&self, login: Login) -> Result<Issued, store::Error> {
        let expires = unix_s() + self.inner.lifetime.as_secs();
        let row = LoginRow {
            token_id: login.token_id,
            user: login.user.to_string(),
            expires_unix_s: expires as i64,
        };
        let ended = {
            let mut state = self.state();
            let ended = state.make_room(login.token_id);
            let user = Arc::clone(&login.user);
            let expires_unix_s = expires;
            state.logins.insert(
                login.token_id,
                Active {
                    user,
                    expires_unix_s,
                },
            );
            ended
        };
        for token_id in ended {
            self.inner.store.remove_login(token_id).await?;
        }
        self.inner.store.put_login(&row).await?;
        Ok(Issued {
            token: self.write_token(login.token_id, expires),
            timeout_s: self.inner.lifetime.as_secs(),
            login,
        })
    }

    fn new_token_id(&self, state: &State) -> u64 {
        loop {
            let id = u64::from_be_bytes(self.inner.store.random());
            if id != 0 && !state.logins.contains_key(&id) {
                return id;
            }
        }
    }

    fn write_token(&self, token_id: u64, expires: u64) -> String {
        let mut bytes = vec![TOKEN_VERSION];
        bytes.extend_from_slice(&token_id.to_be_bytes());
        bytes.extend_from_slice(&expires.to_be_bytes());
        let tag = hmac::sign(&self.inner.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read_token(&self, token: &str) -> Option<(u64, u64)> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; limits::TOKEN_BYTES_MAX];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        if length != TOKEN_BODY_BYTES + TOKEN_TAG_BYTES || bytes[0] != TOKEN_VERSION {
            return None;
        }
        let (body, tag) = bytes[..length].split_at(TOKEN_BODY_BYTES);
        hmac::verify(&self.inner.key, body, tag).ok()?;
        let number =
            |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("8 bytes were cut"));
        Some((number(1), number(9)))
    }

    fn proves(&self, user: &User, proof: &Proof) -> bool {
        match proof {
            Proof::Hash(hash) => self.same(&user.proof, hash),
            Proof::TimedHash { hash, timestamp } => {
                let want = sha256_hex(&format!("{}_{timestamp}", user.proof));
                self.same(&want, hash)
            }
            Proof::Plain(password) => self.same(&user.proof, &proof_of(&user.name, password)),
        }
    }

    /// Compares in a time that says nothing about where the texts differ: `hmac::verify` compares two tags so.
    fn same(&self, ours: &str, theirs: &str) -> bool {
        let tag = hmac::sign(&self.inner.key, ours.as_bytes());
        hmac::verify(&self.inner.key, theirs.as_bytes(), tag.as_ref()).is_ok()
    }

    /// A panic elsewhere leaves the maps whole: each change is one call.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends as many logins as needed for one more: those that are over, else the one that would end first.
    fn make_room(&mut self, token_id: u64) -> Vec<u64> {
        if self.logins.len() < limits::LOGINS_MAX || self.logins.contains_key(&token_id) {
            return Vec::new();
        }
        let now = unix_s();
        let over = |active: &Active| active.expires_unix_s <= now;
        let mut ended: Vec<u64> = self
            .logins
            .iter()
            .filter(|(_, active)| over(active))
            .map(|(id, _)| *id)
            .collect();
        if ended.is_empty() {
            let first = self.logins.iter().min_by_key(|(_, a)| a.expires_unix_s);
            ended.extend(first.map(|(id, _)| *id));
        }
        for id in &ended {
            self.logins.remove(id);
        }
        ended
    }
}

/// Failed logins by source.
#[derive(Default)]
struct Pauses {
    sources: HashMap<IpAddr, Failures>,
}

struct Failures {
    count: u32,
    last: Instant,
}

const PAUSE: Duration = Duration::from_secs(limits::LOGIN_PAUSE_S);

impl Pauses {
    /// Seconds left, if this source is refused now.
    fn pause_s(&self, source: IpAddr, now: Instant) -> Option<u64> {
        let failures = self.sources.get(&network(source))?;
        let since = now.saturating_duration_since(failures.last);
        let paused = failures.count >= limits::LOGIN_FAILURES_MAX && since < PAUSE;
        paused.then(|| (PAUSE - since).as_secs() + 1)
    }

    fn fail(&mut self, source: IpAddr, now: Instant) {
        let source = network(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= limits::LOGIN_SOURCES_MAX {
            let oldest = self.sources.iter().min_by_key(|(_, f)| f.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.sources.remove(&oldest);
            }
        }
        let failures = self.sources.entry(source).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(failures.last) >= PAUSE {
            failures.count = 0;
        }
        failures.count += 1;
        failures.last = now;
    }

    fn forgive(&mut self, source: IpAddr) {
        self.sources.remove(&network(source));
    }
}

/// One person has a whole IPv6 /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

/// `hex(sha256(user "_" password))` (bvcsp 1.1).
pub(super) fn proof_of(user: &str, password: &str) -> String {
    sha256_hex(&format!("{user}_{password}"))
}

fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 16 characters of 32 that are not taken for each other: 80 bits.
fn random_password(store: &Store) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 16] = store.random();
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// Seconds since the Unix epoch.
pub(super) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Folder, folder};

    const HOME: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const HASH: &str = "SHA256:6848d6405bf34bf9b2d82ed8822c756807632d3eaefedec90ac33cb32ac83671";

    async fn auth(folder: &Folder) -> Auth {
        let store = Store::open(folder.path(), "").await.expect("opens");
        let lifetime = Duration::from_secs(100);
        let password = Some("123456".to_owned());
        let (auth, shown) = Auth::open(store, lifetime, password).await.expect("opens");
        assert_eq!(shown, None, "a password that was given is not shown");
        auth
    }

    fn proof(text: &str) -> Proof {
        Proof::parse(text, Some(unix_s())).expect("one of the forms")
    }

    #[test]
    fn the_vector_of_the_api_description() {
        // bvcsp 1.1: admin / 123456.
        assert_eq!(format!("SHA256:{}", proof_of("admin", "123456")), HASH);
    }

    #[tokio::test]
    async fn all_forms_of_a_proof_are_taken() {
        let folder = folder();
        let auth = auth(&folder).await;
        let now = unix_s();
        let timed = sha256_hex(&format!("{}_{now}", proof_of("admin", "123456")));
        for proof in [
            proof(HASH),
            proof(&HASH.to_ascii_uppercase()),
            Proof::Plain("123456".into()),
            Proof::parse(&format!("SHA256_T:{timed}"), Some(now)).expect("with its time"),
        ] {
            let issued = auth.login("admin", &proof, HOME).await.expect("right");
            assert_eq!(issued.timeout_s, 100);
            assert_eq!(auth.check(&issued.token), Some(issued.login));
        }
        assert_eq!(Proof::parse("SHA256_T:00", None), None);
        assert_eq!(Proof::parse("MD5:00", Some(1)), None);
        let old = now - limits::LOGIN_CLOCK_SKEW_S_MAX - 2;
        let late = sha256_hex(&format!("{}_{old}", proof_of("admin", "123456")));
        let late = Proof::parse(&format!("SHA256_T:{late}"), Some(old)).expect("with its time");
        let refused = auth.login("admin", &late, HOME).await;
        assert!(
            matches!(refused, Err(LoginError::Clock { .. })),
            "a replay is refused"
        );
    }

    #[tokio::test]
    async fn a_token_that_is_not_ours_is_nothing() {
        let folder = folder();
        let auth = auth(&folder).await;
        let issued = auth
            .login("admin", &proof(HASH), HOME)
            .await
            .expect("right");
        let token = issued.token;
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            assert_eq!(
                auth.check(&URL_SAFE_NO_PAD.encode(&bytes)),
                None,
                "byte {place}"
            );
            bytes[place] ^= 1;
        }
        for broken in [
            "",
            "x",
            &token[1..],
            &format!("{token}A"),
            &"A".repeat(10_000),
        ] {
            assert_eq!(auth.check(broken), None);
        }
        assert_eq!(
            auth.check(&auth.write_token(issued.login.token_id, unix_s())),
            None,
            "ended"
        );
        assert!(auth.check(&token).is_some());
    }

    #[tokio::test]
    async fn tokens_survive_a_restart_and_end_at_logout() {
        let folder = folder();
        let first = auth(&folder).await;
        let kept = first
            .login("admin", &proof(HASH), HOME)
            .await
            .expect("right");
        let ended = first
            .login("admin", &proof(HASH), HOME)
            .await
            .expect("right");
        let refreshed = first.refresh(&ended.login).await.expect("refreshed");
        assert_eq!(refreshed.login.token_id, ended.login.token_id);
        first.logout(&refreshed.login).await.expect("logged out");
        assert_eq!(first.check(&ended.token), None);
        assert_eq!(first.check(&refreshed.token), None);
        drop(first);
        let again = auth(&folder).await;
        assert_eq!(again.check(&kept.token), Some(kept.login));
        assert_eq!(again.check(&ended.token), None);
    }

    #[tokio::test]
    async fn a_random_password_is_made_once() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let open = || Auth::open(store.clone(), Duration::from_secs(100), None);
        let (auth, shown) = open().await.expect("opens");
        let password = shown.expect("made at the first start");
        assert_eq!(password.len(), 16);
        let proof = Proof::Plain(password);
        auth.login("admin", &proof, HOME).await.expect("right");
        assert_eq!(open().await.expect("opens again").1, None);
    }

    #[tokio::test]
    async fn a_source_that_fails_too_often_is_paused() {
        let folder = folder();
        let auth = auth(&folder).await;
        let other: IpAddr = "10.0.0.1".parse().expect("an address");
        for user in ["admin", "nobody", "admin", "admin", "admin"] {
            let wrong = auth.login(user, &Proof::Plain("x".into()), HOME).await;
            assert!(matches!(wrong, Err(LoginError::Wrong)));
        }
        let right = auth.login("admin", &proof(HASH), HOME).await;
        assert!(matches!(right, Err(LoginError::Paused { seconds: 1..=60 })));
        auth.login("admin", &proof(HASH), other)
            .await
            .expect("another source");
    }

    #[test]
    fn a_pause_ends_and_sources_are_bounded() {
        let start = Instant::now();
        let mut pauses = Pauses::default();
        for _ in 0..limits::LOGIN_FAILURES_MAX - 1 {
            pauses.fail(HOME, start);
        }
        assert_eq!(pauses.pause_s(HOME, start), None);
        pauses.fail(HOME, start);
        assert_eq!(pauses.pause_s(HOME, start), Some(limits::LOGIN_PAUSE_S + 1));
        assert_eq!(pauses.pause_s(HOME, start + PAUSE), None);
        pauses.fail(HOME, start + PAUSE);
        assert_eq!(
            pauses.pause_s(HOME, start + PAUSE),
            None,
            "counting begins anew"
        );

        let mut pauses = Pauses::default();
        let source = |n: usize| IpAddr::V4(std::net::Ipv4Addr::from_bits(n as u32));
        for n in 0..limits::LOGIN_SOURCES_MAX + 3 {
            pauses.fail(source(n), start + Duration::from_millis(n as u64));
        }
        assert_eq!(pauses.sources.len(), limits::LOGIN_SOURCES_MAX);
        assert!(
            !pauses.sources.contains_key(&source(2)),
            "the oldest is forgotten"
        );
        assert!(pauses.sources.contains_key(&source(3)));
    }

    #[test]
    fn neighbours_in_a_64_are_one_source() {
        let a = network("2001:db8::1".parse().expect("an address"));
        let b = network("2001:db8::ffff:1".parse().expect("an address"));
        assert_eq!(a, b);
        let mapped = network("::ffff:10.0.0.1".parse().expect("an address"));
        assert_eq!(mapped, network("10.0.0.1".parse().expect("an address")));
    }

    #[tokio::test]
    async fn logins_are_bounded_and_the_first_to_end_goes() {
        let folder = folder();
        let auth = auth(&folder).await;
        let issued = auth
            .login("admin", &proof(HASH), HOME)
            .await
            .expect("right");
        {
            let mut state = auth.state();
            let far = unix_s() + 1_000;
            for id in 1..limits::LOGINS_MAX as u64 {
                let user = "admin".into();
                state.logins.insert(
                    id,
                    Active {
                        user,
                        expires_unix_s: far + id,
                    },
                );
            }
            assert_eq!(state.logins.len(), limits::LOGINS_MAX);
        }
        let next = auth
            .login("admin", &proof(HASH), HOME)
            .await
            .expect("right");
        assert_eq!(auth.check(&issued.token), None, "it would have ended first");
        assert!(auth.check(&next.token).is_some());
        assert_eq!(auth.state().logins.len(), limits::LOGINS_MAX);
    }

    #[tokio::test]
    async fn a_capability_is_for_one_thing() {
        let folder = folder();
        let auth = auth(&folder).await;
        let shown = auth.capability("D1");
        assert!(auth.has_capability("D1", &shown));
        assert!(!auth.has_capability("D2", &shown));
        assert!(!auth.has_capability("D1", ""));
    }
}
