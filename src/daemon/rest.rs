//! The connector for a CRM with `kind = "rest"`: what the configuration says, in the connector's words.

use std::sync::Arc;

use super::blueprint::{Surroundings, Wanted};
use super::connectors::{Made, provider, quota};
use crate::config::{Crm, RestAuth, RestBody, RestKey, RestList, RestPaging, RestRead, RestSettings, RestWrite};
use crate::connector::rest::{self, Rest};

/// A connector, or why there is none. Nothing is reached yet.
pub(super) fn of_crm(crm: &Crm, settings: &RestSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let auth = match &settings.auth {
        RestAuth::Header { header, prefix, secret } => rest::Auth::Header {
            header: header.clone(),
            prefix: prefix.clone(),
            secret: provider(secret, surroundings),
        },
        RestAuth::Basic { user, secret } => {
            rest::Auth::Basic { user: user.clone(), secret: provider(secret, surroundings) }
        }
        RestAuth::OAuth { token_url, client_id, secret, scope } => rest::Auth::OAuth {
            token_url: token_url.clone(),
            client_id: client_id.clone(),
            secret: provider(secret, surroundings),
            scope: scope.clone(),
        },
    };
    let connector = Rest::new(rest::Settings {
        name: crm.name.clone(),
        url: settings.url.clone(),
        auth,
        api: settings.clone().into(),
        quota: quota(crm),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

/// The API as the connector is told of it.
impl From<RestSettings> for rest::Api {
    fn from(settings: RestSettings) -> Self {
        Self {
            collection: settings.collection,
            key: settings.key,
            key_is: match settings.key_is {
                RestKey::Text => rest::KeyIs::Text,
                RestKey::Number => rest::KeyIs::Number,
                RestKey::Uuid => rest::KeyIs::Uuid,
            },
            modified: settings.modified,
            created: settings.created,
            deleted: settings.deleted,
            related_modified: settings.related_modified,
            etag: settings.etag,
            time: settings.time,
            clears_with_empty: settings.clears_with_empty,
            omits_nulls: settings.omits_nulls,
            types: settings.types,
            headers: settings.headers,
            list: list(settings.list),
            read: settings.read.map(|RestRead { path, query, record, missing, headers }| rest::ReadOne {
                path,
                query,
                record,
                missing,
                headers,
            }),
            write: settings.write.map(write),
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn list(list: RestList) -> rest::List {
    rest::List {
        path: list.path,
        query: list.query,
        records: list.records,
        page_size: size(list.page_size),
        paging: match list.paging {
            RestPaging::Key { after, next } => rest::Paging::Key { after, next },
            RestPaging::Page => rest::Paging::Page,
            RestPaging::Offset => rest::Paging::Offset,
            RestPaging::Cursor { pointer, query } => rest::Paging::Cursor { pointer, query },
            RestPaging::Link => rest::Paging::Link,
            RestPaging::Next { pointer } => rest::Paging::Next { pointer },
        },
        total: list.total,
        filter: list.filter,
        and: list.and,
        since: list.since,
        since_related: list.since_related,
        any: list.any,
        or: list.or,
        keys: list.keys,
        each: list.each,
        between: list.between,
        keys_max: size(list.keys_max),
        expand: list.expand,
        relation: list.relation,
        between_relations: list.between_relations,
        headers: list.headers,
    }
}

fn write(write: RestWrite) -> rest::WriteRequest {
    let RestWrite { method, path, query, body, batch, records, missing, refused, headers } = write;
    let body = match body {
        RestBody::Record => rest::Body::Record,
        RestBody::Array => rest::Body::Array,
        RestBody::Batch(path) => rest::Body::Batch(path),
    };
    rest::WriteRequest { method, path, query, body, batch: size(batch), records, missing, refused, headers }
}
