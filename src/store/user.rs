//! Users and logins as rows. Both are few and rare: they are written at once.

use sqlx::Row;

use super::{Error, Store};

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// `hex(sha256(name "_" password))`: what a login proves to know. As good as the password, so it is stored sealed.
    pub proof: String,
    pub admin: bool,
    pub enabled: bool,
    pub created_unix_s: i64,
    /// When the password was set.
    pub password_unix_s: i64,
}

/// A login that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRow {
    pub token_id: u64,
    pub user: String,
    pub expires_unix_s: i64,
}

const ROLE_ADMIN: &str = "admin";
const ROLE_USER: &str = "user";

impl Store {
    /// Users whose proof can be opened with the key of the data folder; others are logged.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let doing = "reading the users";
        let rows = sqlx::query(
            "SELECT name, proof, role, enabled, created_s, password_s FROM users ORDER BY name",
        )
        .fetch_all(&self.inner.pool)
        .await
        .map_err(Error::at(doing))?;
        let mut users = Vec::new();
        for row in rows {
            let read = || -> sqlx::Result<(User, String)> {
                let role: String = row.try_get(2)?;
                let user = User {
                    name: row.try_get(0)?,
                    proof: String::new(),
                    admin: role == ROLE_ADMIN,
                    enabled: row.try_get::<i64, _>(3)? != 0,
                    created_unix_s: row.try_get(4)?,
                    password_unix_s: row.try_get(5)?,
                };
                Ok((user, row.try_get(1)?))
            };
            let (mut user, sealed) = read().map_err(Error::at(doing))?;
            let proof = self.inner.sealer.unseal(&user.name, &sealed);
            match proof.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(proof) => {
                    user.proof = proof;
                    users.push(user);
                }
                None => {
                    tracing::warn!(
                        user = user.name,
                        "its password was sealed with another key; it cannot log in"
                    );
                }
            }
        }
        Ok(users)
    }

    /// Adds or replaces a user.
    pub async fn put_user(&self, user: &User) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO users (name, proof, role, enabled, created_s, password_s) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (name) DO UPDATE SET proof = excluded.proof, role = excluded.role, \
             enabled = excluded.enabled, password_s = excluded.password_s",
        )
        .bind(user.name.clone())
        .bind(self.inner.sealer.seal(&user.name, user.proof.as_bytes()))
        .bind(if user.admin { ROLE_ADMIN } else { ROLE_USER })
        .bind(i64::from(user.enabled))
        .bind(user.created_unix_s)
        .bind(user.password_unix_s)
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing a user"))?;
        Ok(())
    }

    /// Logins that end after `now_unix_s`; the others are removed.
    pub async fn logins(&self, now_unix_s: i64) -> Result<Vec<LoginRow>, Error> {
        let doing = "reading the logins";
        sqlx::query("DELETE FROM logins WHERE expires_s <= $1")
            .bind(now_unix_s)
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        let rows = sqlx::query("SELECT token_id, user_name, expires_s FROM logins")
            .fetch_all(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        let read = |row: &sqlx::any::AnyRow| -> sqlx::Result<Option<LoginRow>> {
            let id: String = row.try_get(0)?;
            let Ok(token_id) = u64::from_str_radix(&id, 16) else {
                return Ok(None);
            };
            Ok(Some(LoginRow {
                token_id,
                user: row.try_get(1)?,
                expires_unix_s: row.try_get(2)?,
            }))
        };
        rows.iter()
            .filter_map(|row| read(row).transpose())
            .collect::<sqlx::Result<_>>()
            .map_err(Error::at(doing))
    }

    /// Adds a login, or moves its end.
    pub async fn put_login(&self, login: &LoginRow) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO logins (token_id, user_name, expires_s) VALUES ($1, $2, $3) \
             ON CONFLICT (token_id) DO UPDATE SET expires_s = excluded.expires_s",
        )
        .bind(format!("{:016x}", login.token_id))
        .bind(login.user.clone())
        .bind(login.expires_unix_s)
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing a login"))?;
        Ok(())
    }

    /// Removes a login, if it is there.
    pub async fn remove_login(&self, token_id: u64) -> Result<(), Error> {
        sqlx::query("DELETE FROM logins WHERE token_id = $1")
            .bind(format!("{token_id:016x}"))
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("removing a login"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;

    fn user(name: &str) -> User {
        User {
            name: name.into(),
            proof: "6848d640".into(),
            admin: true,
            enabled: true,
            created_unix_s: 1,
            password_unix_s: 2,
        }
    }

    #[tokio::test]
    async fn users_survive_and_their_proofs_are_sealed() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        store.put_user(&user("admin")).await.expect("written");
        let mut changed = user("admin");
        changed.proof = "ffff0000".into();
        store.put_user(&changed).await.expect("written");
        drop(store);
        let store = Store::open(folder.path(), "").await.expect("opens again");
        assert_eq!(store.users().await.expect("read"), [changed]);
        let sealed: String = sqlx::query("SELECT proof FROM users")
            .fetch_one(&store.inner.pool)
            .await
            .expect("a row")
            .get(0);
        assert!(!sealed.contains("ffff0000"));
    }

    #[tokio::test]
    async fn logins_end_and_can_be_removed() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        for (token_id, expires_unix_s) in [(1, 100), (u64::MAX, 200), (3, 300)] {
            let user = "admin".into();
            let login = LoginRow {
                token_id,
                user,
                expires_unix_s,
            };
            store.put_login(&login).await.expect("written");
        }
        store.remove_login(3).await.expect("removed");
        let logins = store.logins(100).await.expect("read");
        assert_eq!(logins.len(), 1);
        assert_eq!(logins[0].token_id, u64::MAX);
    }
}
