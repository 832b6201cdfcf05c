//! A read of several pages as a stream.

use futures::stream::{self, BoxStream, StreamExt};

use super::Page;
use crate::model::Failure;

enum Step<Begin, Walk> {
    Begin(Begin),
    Next(Walk),
    Done,
}

/// Pages, one after the other: `begin` says where the walk starts, `next` reads a page and says where it goes on (none: this was
/// the last). A failure ends it.
pub(super) fn pages<'a, Walk, Begin, Next, Read>(begin: Begin, next: Next) -> BoxStream<'a, Result<Page, Failure>>
where
    Walk: Send + 'a,
    Begin: Future<Output = Result<Walk, Failure>> + Send + 'a,
    Next: Fn(Walk) -> Read + Send + Sync + 'a,
    Read: Future<Output = Result<(Page, Option<Walk>), Failure>> + Send + 'a,
{
    stream::unfold((Step::Begin(begin), next), |(step, next)| async move {
        let walk = match step {
            Step::Done => return None,
            Step::Begin(begin) => begin.await,
            Step::Next(walk) => Ok(walk),
        };
        let page = match walk {
            Ok(walk) => next(walk).await,
            Err(failure) => Err(failure),
        };
        Some(match page {
            Ok((page, Some(walk))) => (Ok(page), (Step::Next(walk), next)),
            Ok((page, None)) => (Ok(page), (Step::Done, next)),
            Err(failure) => (Err(failure), (Step::Done, next)),
        })
    })
    .boxed()
}
