//! BigCommerce.
