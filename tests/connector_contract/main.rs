//! What every connector owes the engine: one suite, run against every kind of source.
//!
//! `suite` knows only the [`world::World`] trait; a source joins by implementing it and naming itself in [`contract!`].
//! SQLite always runs. PostgreSQL runs when `ATTUNE_TEST_POSTGRES` names a database (`postgres://postgres@127.0.0.1/test`),
//! MySQL or MariaDB when `ATTUNE_TEST_MYSQL` does (`mysql://root@127.0.0.1/test`); every test has a schema of its own there
//! and drops it. Odoo runs when `ATTUNE_TEST_ODOO` names one, in both of its protocols,
//! an Odoo 14 when `ATTUNE_TEST_ODOO_14` does, Tryton when `ATTUNE_TEST_TRYTON` does.
//! `rest` runs against servers of its own that behave like those that people have, and against a real Directus when
//! `ATTUNE_TEST_DIRECTUS` names one, and against a real OData v4 service when `ATTUNE_TEST_ODATA` does.

/// Tests of a module, run in one kind of place each.
macro_rules! on {
    ($world:ident::$place:ident as $module:ident, $home:ident, [$($test:ident),* $(,)?]) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$world::$place(|place| Box::pin(crate::$home::$test(place))).await;
            })*
        }
    };
}

/// Runs every test of a part of the contract against every place.
macro_rules! contract {
    ($home:ident, $($test:ident),* $(,)?) => {
        on!(sql_world::on_sqlite as sqlite, $home, [$($test),*]);
        on!(sql_world::on_postgres as postgres, $home, [$($test),*]);
        on!(sql_world::on_mysql as mysql, $home, [$($test),*]);
        on!(hubspot_world::on_hubspot as hubspot, $home, [$($test),*]);
        on!(salesforce_world::on_salesforce as salesforce, $home, [$($test),*]);
        on!(odoo_world::on_odoo as odoo, $home, [$($test),*]);
        on!(odoo_world::on_odoo_before_19 as odoo_before_19, $home, [$($test),*]);
        on!(odoo_world::on_odoo_14 as odoo_14, $home, [$($test),*]);
        on!(tryton_world::on_tryton as tryton, $home, [$($test),*]);
        on!(rest_world::on_directus_like as rest_directus_like, $home, [$($test),*]);
        on!(directus_world::on_directus as directus, $home, [$($test),*]);
        on!(odata_world::on_odata as odata, $home, [$($test),*]);
        on!(odata_world::on_odata_next as odata_next, $home, [$($test),*]);
        on!(rest_world::on_odata_like as rest_odata_like, $home, [$($test),*]);
        on!(rest_world::on_odata_batch_like as rest_odata_batch_like, $home, [$($test),*]);
    };
}

mod directus_world;
mod finding;
mod hubspot_making;
mod hubspot_only;
mod hubspot_world;
mod making;
mod mysql_only;
mod odata_world;
mod odoo_making;
mod odoo_only;
mod odoo_world;
mod related;
mod rest_making;
mod rest_only;
mod rest_query;
mod rest_world;
mod salesforce_making;
mod salesforce_only;
mod salesforce_world;
mod sql_making;
mod sql_only;
mod sql_world;
mod suite;
mod tryton_making;
mod tryton_only;
mod tryton_world;
mod world;

contract!(
    suite,
    says_what_it_is,
    everything_shows_every_record_once,
    a_feed_shows_edits_and_needs_only_a_lower_bound,
    a_feed_shows_new_records,
    a_storm_of_one_time_is_complete,
    edits_while_paging_lose_nothing,
    the_clock_is_not_ahead,
    null_empty_and_values_are_told_apart,
    odd_and_long_text_comes_and_goes_unharmed,
    a_write_is_seen_by_the_feed,
    a_clear_leaves_nothing,
    several_fields_of_one_record_are_written_together,
    a_large_batch_is_written_whole,
    a_write_that_lost_changes_nothing,
    white_space_counts_for_a_conditional_write,
    a_record_is_written_entirely_or_not_at_all,
    a_bad_row_is_isolated_wherever_it_is,
    missing_records_are_gone,
    deleted_records_are_gone_everywhere,
    a_write_never_lowers_the_modification_time,
    fetch_answers_only_what_was_asked,
);
