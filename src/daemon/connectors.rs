//! Connectors for what a configuration names: a function for each kind of source. Nothing is reached yet.

use std::sync::Arc;

use super::blueprint::{Surroundings, Wanted};
use crate::config::{
    Crm, CrmKind, HubSpotSettings, ModifiedBy, OdooSettings, RestAuth, RestSettings, SalesforceGrant,
    SalesforceSettings, Secret, SqlRelation, SqlSettings, Store, TrytonSettings,
};
use crate::connector::Connector;
use crate::connector::bigcommerce::{self, BigCommerce};
use crate::connector::hubspot::{self, HubSpot};
use crate::connector::odoo::{self, Odoo};
use crate::connector::rest::{self, Rest};
use crate::connector::salesforce::{self, Grant, Salesforce};
use crate::connector::sql::{self, Sql};
use crate::connector::tryton::{self, Tryton};
use crate::http::{Client, FixedQuota, SecretProvider};
use crate::model::{Class, Failure};

/// A connector, or why there is none.
pub(super) type Made = Result<Arc<dyn Connector>, Failure>;

pub(super) fn of_store(store: &Store, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let connector = BigCommerce::new(bigcommerce::Settings {
        name: store.name.clone(),
        store_hash: store.store_hash.clone(),
        api_url: store.api_url.clone(),
        access_token: provider(&store.access_token, surroundings),
        share: store.share,
        fields: wanted.fields(),
        create_attributes: wanted.create_attributes,
        create_groups: wanted.create_groups,
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

pub(super) async fn of_crm(crm: &Crm, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    match &crm.kind {
        CrmKind::Sql(settings) => sql(crm, settings, wanted, surroundings).await,
        CrmKind::Odoo(settings) => odoo(crm, settings, wanted, surroundings),
        CrmKind::HubSpot(settings) => hubspot(crm, settings, wanted, surroundings),
        CrmKind::Salesforce(settings) => salesforce(crm, settings, wanted, surroundings),
        CrmKind::Tryton(settings) => tryton(crm, settings, wanted, surroundings),
        CrmKind::Rest(settings) => rest(crm, settings, wanted, surroundings),
    }
}

/// Finds a secret when it is asked for. The caller asks on a thread that may block: the secret may be a file or a command.
fn provider(secret: &Secret, surroundings: &Surroundings) -> SecretProvider {
    let (secret, environment) = (secret.clone(), Arc::clone(&surroundings.environment));
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move || runtime.block_on(secret.resolve(&environment)))
}

fn quota(crm: &Crm) -> Option<FixedQuota> {
    crm.quota.map(|quota| FixedQuota {
        calls: quota.calls,
        per: quota.per,
        in_flight_max: usize::try_from(quota.concurrency).unwrap_or(usize::MAX),
    })
}

fn odoo(crm: &Crm, settings: &OdooSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let connector = Odoo::new(odoo::Settings {
        name: crm.name.clone(),
        url: settings.url.clone(),
        database: settings.database.clone(),
        user: settings.user.clone(),
        api_key: provider(&settings.api_key, surroundings),
        model: settings.model.clone(),
        quota: quota(crm),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: Client::new(odoo::TIMEOUTS),
    });
    Ok(Arc::new(connector?))
}

fn hubspot(crm: &Crm, settings: &HubSpotSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let connector = HubSpot::new(hubspot::Settings {
        name: crm.name.clone(),
        url: settings.url.clone(),
        access_token: provider(&settings.access_token, surroundings),
        object: settings.object.clone(),
        create_in_group: settings.create_in_group.clone(),
        quota: quota(crm),
        searches_per_second: hubspot::SEARCHES_PER_SECOND,
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

fn salesforce(crm: &Crm, settings: &SalesforceSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let client_id = settings.client_id.clone();
    let grant = match &settings.grant {
        SalesforceGrant::ClientCredentials(secret) => {
            Grant::ClientCredentials { client_id, client_secret: provider(secret, surroundings) }
        }
        SalesforceGrant::JwtBearer { private_key, user, audience } => {
            let (key, environment) = (private_key.clone(), Arc::clone(&surroundings.environment));
            let runtime = tokio::runtime::Handle::current();
            let private_key: SecretProvider = Arc::new(move || runtime.block_on(key.resolve_lines(&environment)));
            Grant::JwtBearer { client_id, user: user.clone(), audience: audience.clone(), private_key }
        }
    };
    let connector = Salesforce::new(salesforce::Settings {
        name: crm.name.clone(),
        url: settings.url.clone(),
        grant,
        object: settings.object.clone(),
        external_id: settings.external_id.clone(),
        quota: quota(crm),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

fn tryton(crm: &Crm, settings: &TrytonSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let connector = Tryton::new(tryton::Settings {
        name: crm.name.clone(),
        url: settings.url.clone(),
        database: settings.database.clone(),
        user: settings.user.clone(),
        password: provider(&settings.password, surroundings),
        model: settings.model.clone(),
        quota: quota(crm),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

fn rest(crm: &Crm, settings: &RestSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
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
        api: settings.api.clone(),
        quota: quota(crm),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
        client: surroundings.client.clone(),
    });
    Ok(Arc::new(connector?))
}

async fn sql(crm: &Crm, settings: &SqlSettings, wanted: &Wanted, surroundings: &Surroundings) -> Made {
    let url = settings.url.resolve(&surroundings.environment).await.map_err(|why| {
        Failure::new(Class::Misconfigured, format!("the url of crm {} cannot be read: {why}", crm.name))
    })?;
    let connector = Sql::new(sql::Settings {
        name: crm.name.clone(),
        url,
        table: settings.table.clone(),
        key: settings.key.clone(),
        modified: settings.modified.clone(),
        modified_by: match settings.modified_by {
            ModifiedBy::Attune => sql::ModifiedBy::Attune,
            ModifiedBy::Database => sql::ModifiedBy::Database,
        },
        deleted: settings.deleted.clone(),
        relations: settings
            .relations
            .iter()
            .map(|(name, relation)| {
                let SqlRelation { table, from, key, modified } = relation.clone();
                (name.clone(), sql::Relation { table, from, key, modified })
            })
            .collect(),
        fields: wanted.fields(),
        patience: surroundings.patience,
        cancel: surroundings.stop.clone(),
    });
    Ok(Arc::new(connector))
}
