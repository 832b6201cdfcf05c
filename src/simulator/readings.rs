//! What BigCommerce's documents leave open: a switch for each fact, both ways.
//!
//! Must not know: how any of it is carried out.

use serde::{Deserialize, Serialize};

macro_rules! readings {
    ($($(#[$doc:meta])* $field:ident: $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }),+ $(,)?) => {
        /// What BigCommerce's documents leave open, decided one way or the other. The default of each is the first.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Readings {
            $($(#[$doc])* pub $field: $kind,)+
        }

        impl Readings {
            /// Each reading's name and its words, the default first.
            pub const ALL: &[(&str, &[&str])] = &[$((stringify!($field), &[$($word),+])),+];

            /// Sets one by its name and word.
            ///
            /// # Errors
            /// A sentence, if there is no such name or word.
            pub fn set(&mut self, name: &str, word: &str) -> Result<(), String> {
                let wanted = name.replace('-', "_");
                match wanted.as_str() {
                    $(stringify!($field) => {
                        self.$field = match word {
                            $($word => $kind::$variant,)+
                            _ => return Err(format!("{word:?} is no reading of {wanted}: one of {}", [$($word),+].join(", "))),
                        };
                    })+
                    _ => {
                        let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
                        return Err(format!("there is no reading {name:?}: one of {}", names.join(", ")));
                    }
                }
                Ok(())
            }

            /// Every reading the other way round (of three, the last).
            pub fn opposite() -> Self {
                let mut readings = Self::default();
                $({
                    const VARIANTS: &[$kind] = &[$($kind::$variant),+];
                    readings.$field = VARIANTS[VARIANTS.len() - 1];
                })+
                readings
            }
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub enum $kind {
                $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
            }

            impl Default for $kind {
                fn default() -> Self {
                    const VARIANTS: &[$kind] = &[$($kind::$variant),+];
                    VARIANTS[0]
                }
            }
        )+
    };
}

readings! {
    /// Whether `:min` and `:max` of a date include the date itself.
    date_bounds: DateBounds {
        /// They do (the page about common query parameters).
        Inclusive = "inclusive",
        /// They do not ("modified after this date").
        Exclusive = "exclusive",
    },
    /// Whether an upsert of the value that is there already changes its `date_modified`.
    unchanged_upsert: UnchangedUpsert {
        /// It does.
        Bumps = "bumps",
        /// It does not.
        Keeps = "keeps",
    },
    /// What a batch with a refused row does to the other rows.
    refused_batch: RefusedBatch {
        /// Nothing of it is done.
        Atomic = "atomic",
        /// The other rows are done; the answer is a 422 all the same.
        Partial = "partial",
    },
    /// How many values `include=attributes` shows of one customer.
    included_attributes: IncludedAttributes {
        /// All.
        All = "all",
        /// The first ten (the schema's `maxItems`).
        FirstTen = "first-ten",
    },
    /// What an upsert of an empty text does.
    empty_value: EmptyValue {
        /// It is stored.
        Stores = "stores",
        /// The value is deleted, and the answer has no row for it.
        Deletes = "deletes",
    },
    /// Whether customers are offered by cursor.
    cursor_pages: CursorPages {
        /// `meta.cursor_pagination` on the first page, and `after` and `before`.
        Offered = "offered",
        /// Neither: both parameters are unknown.
        Absent = "absent",
    },
    /// How the last cursor page is known.
    cursor_end: CursorEnd {
        /// It has no `links.next`.
        NoNext = "no-next",
        /// It has one, which leads to an empty page.
        EmptyPage = "empty-page",
    },
    /// What is done to values of number and date attributes.
    typed_values: TypedValues {
        /// They are stored as sent.
        AsSent = "as-sent",
        /// What is no number or date is refused; the rest is stored as sent.
        Validated = "validated",
        /// Also, `1.0` becomes `1`, a time its day, and white space around any value goes.
        Normalised = "normalised",
    },
    /// Whether an edit of a value changes the customer's `date_modified`.
    value_edits: ValueEdits {
        /// It does not.
        KeepCustomer = "keep-customer",
        /// It does.
        TouchCustomer = "touch-customer",
    },
    /// The order of attribute values.
    values_order: ValuesOrder {
        /// By id.
        ById = "by-id",
        /// By modification, the oldest first.
        ByModified = "by-modified",
    },
    /// Whether the list of attribute definitions says that it has pages.
    attributes_pages: AttributesPages {
        /// It has a `meta.pagination`.
        Shown = "shown",
        /// Its `meta` is empty: there are at most fifty.
        Absent = "absent",
    },
    /// Whether two attribute definitions may have one name.
    attribute_names: AttributeNames {
        /// No two have exactly the same.
        Unique = "unique",
        /// No two have the same but for case.
        Folded = "folded",
        /// They may.
        Repeatable = "repeatable",
    },
    /// What the 255 of the longest value are.
    value_length: ValueLength {
        /// Characters.
        Characters = "characters",
        /// Bytes.
        Bytes = "bytes",
    },
    /// How many ids a parameter takes that takes several.
    ids_per_list: IdsPerList {
        /// As many as the address has room for.
        Any = "any",
        /// A hundred.
        Hundred = "hundred",
    },
    /// How segments, shopper profiles and memberships answer writes.
    segment_writes: SegmentWrites {
        /// A batch with a refused row is refused as a whole, 400 or 409; a delete is answered with 204.
        Whole = "whole",
        /// The other rows are done: 422 with both; a delete is answered with 200 and an empty list.
        Partial = "partial",
    },
    /// Whether customers show their shopper profile and their segments where that is asked for.
    included_segments: IncludedSegments {
        /// They do (marked as Beta).
        Shown = "shown",
        /// Both words are unknown.
        Unknown = "unknown",
    },
    /// Whether metafields are offered by cursor.
    metafield_pages: MetafieldPages {
        /// By cursor and by number.
        Cursor = "cursor",
        /// By number only, as before January 2026.
        Numbered = "numbered",
    },
    /// What becomes of a new metafield where another app has one of its name that we do not see.
    hidden_metafield: HiddenMetafield {
        /// It is ours, beside theirs: names are unique for each app.
        Beside = "beside",
        /// It is refused.
        Refused = "refused",
    },
    /// What the e-mail of a subscriber is compared by.
    subscriber_emails: SubscriberEmails {
        /// Letter by letter.
        Exact = "exact",
        /// Whatever the case of its letters.
        Folded = "folded",
    },
    /// How many addresses `include=addresses` shows of one customer.
    included_addresses: IncludedAddresses {
        /// The first ten.
        FirstTen = "first-ten",
        /// All.
        All = "all",
    },
    /// How an address is answered that is equal to another, so that nothing is done.
    equal_address: EqualAddress {
        /// With the other rows, or none.
        NoRow = "no-row",
        /// With an empty object, where no other row is left.
        EmptyObject = "empty-object",
    },
    /// Whether two e-mails that differ in case are one.
    email_case: EmailCase {
        /// They are.
        Folded = "folded",
        /// They are two.
        Exact = "exact",
    },
    /// What becomes of a customer's form fields that a write does not name.
    form_field_writes: FormFieldWrites {
        /// They stay.
        Merge = "merge",
        /// They go.
        Replace = "replace",
    },
    /// What a write of a form field does that the store does not have.
    unknown_form_fields: UnknownFormFields {
        /// It is refused.
        Refused = "refused",
        /// It is left out; the answer is good.
        Ignored = "ignored",
    },
    /// Whether a write of form fields needs a value in each that is required.
    required_form_fields: RequiredFormFields {
        /// It does not.
        Unchecked = "unchecked",
        /// It is refused without.
        Checked = "checked",
    },
    /// Whether the answer to a write of customers shows their form fields.
    form_fields_answered: FormFieldsAnswered {
        /// It does not.
        Absent = "absent",
        /// It does.
        Shown = "shown",
    },
    /// Whether a shopper's edit of a form field changes the customer's `date_modified`.
    form_field_edits: FormFieldEdits {
        /// It does.
        TouchCustomer = "touch-customer",
        /// It does not.
        KeepCustomer = "keep-customer",
    },
    /// Whether two customer groups may have one name.
    group_names: GroupNames {
        /// They may not.
        Unique = "unique",
        /// They may.
        Repeatable = "repeatable",
    },
    /// How store credit is written.
    store_credit_amount: StoreCreditAmount {
        /// As a number.
        Number = "number",
        /// As a text with four decimals.
        Text = "text",
    },
}
