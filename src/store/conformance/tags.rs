//! Checks of the tag extension.

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
};
use crate::{
    id::StoreKey,
    store::{Expected, MAX_TAGS, Store, StoreFuture, Tag, TagStore},
};

/// The tag calls of a store that has them.
impl<S: Store> Probe<S> {
    /// A tag that no store has seen.
    pub(super) fn new_tag(&self) -> Verdict<Tag> {
        self.tag_named(self.key()?.to_string())
    }

    pub(super) fn tag_named(&self, name: String) -> Verdict<Tag> {
        Tag::new(name).map_err(|error| self.broken("the suite's tags are valid", error.to_string()))
    }

    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> Verdict<bool> {
        match self.store.tags() {
            Some(tags) => self.answered("tag", tags.tag(key, tag).await),
            None => Ok(false),
        }
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> Verdict {
        match self.store.tags() {
            Some(tags) => self.answered("untag", tags.untag(key, tag).await),
            None => Ok(()),
        }
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> Verdict {
        match self.store.tags() {
            Some(tags) => self.answered("copy of tags", tags.copy_tags(from, to).await),
            None => Ok(()),
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Verdict {
        match self.store.tags() {
            Some(tags) => self.answered("move of tags", tags.move_tags(from, to).await),
            None => Ok(()),
        }
    }

    /// Tags a live session.
    pub(super) async fn must_tag(&self, key: &StoreKey, tag: &Tag) -> Verdict {
        let tagged = self.tag(key, tag).await?;
        self.holds(
            "a live session can be tagged",
            tagged,
            "the answer was false",
        )
    }

    /// Holds the store to answering exactly `due` as the tags of `key`.
    async fn carries(&self, promise: &str, key: &StoreKey, due: &[Tag]) -> Verdict {
        let Some(tags) = self.store.tags() else {
            return Ok(());
        };
        let mut listed = self.answered("list of tags", tags.tags_of(key).await)?;
        let mut due = due.to_vec();
        listed.sort_unstable();
        due.sort_unstable();
        let seen = format!("{} tags were listed, or others", listed.len());
        self.holds(promise, listed == due, seen)
    }

    /// Holds the store to listing exactly `due` under `tag`.
    pub(super) async fn lists(&self, promise: &str, tag: &Tag, due: &[StoreKey]) -> Verdict {
        let Some(tags) = self.store.tags() else {
            return Ok(());
        };
        let mut listed = self.answered("tagged", tags.tagged(tag).await)?;
        let mut due = due.to_vec();
        listed.sort_unstable();
        due.sort_unstable();
        let seen = format!("the tag lists {listed:?}, where {due:?} was due");
        self.holds(promise, listed == due, seen)
    }
}

pub(super) async fn list_their_sessions<S: Store>(p: &Probe<S>) -> Verdict {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let promise = "an unknown tag lists nothing";
    p.lists(promise, &one, &[]).await?;
    let (phone, laptop) = (p.fresh(LONG).await?.0, p.fresh(LONG).await?.0);
    p.fresh(LONG).await?;
    p.must_tag(&phone, &one).await?;
    p.must_tag(&laptop, &one).await?;
    p.must_tag(&laptop, &other).await?;
    let promise = "a tag lists exactly the sessions that carry it";
    p.lists(promise, &one, &[phone, laptop]).await?;
    p.lists(promise, &other, &[laptop]).await?;
    p.must_tag(&phone, &one).await?;
    p.lists("tagging again changes nothing", &one, &[phone, laptop])
        .await
}

pub(super) async fn untag_takes_one_off<S: Store>(p: &Probe<S>) -> Verdict {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let (phone, laptop) = (p.fresh(LONG).await?.0, p.fresh(LONG).await?.0);
    for key in [&phone, &laptop] {
        p.must_tag(key, &one).await?;
        p.must_tag(key, &other).await?;
    }
    p.untag(&phone, &one).await?;
    let promise = "untagging takes one tag off one session";
    p.lists(promise, &one, &[laptop]).await?;
    p.lists(promise, &other, &[phone, laptop]).await?;
    let promise = "untagging what is not tagged changes nothing";
    p.untag(&phone, &one).await?;
    p.untag(&p.key()?, &other).await?;
    p.untag(&phone, &p.new_tag()?).await?;
    p.lists(promise, &one, &[laptop]).await?;
    p.lists(promise, &other, &[phone, laptop]).await
}

pub(super) async fn are_listed_by_their_session<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let (key, brief) = (
        p.fresh(LONG).await?.0,
        p.fresh(harness.short_ttl()).await?.0,
    );
    p.carries("a session without tags lists none", &key, &[])
        .await?;
    for (key, tag) in [(&key, &one), (&key, &other), (&key, &one), (&brief, &one)] {
        p.must_tag(key, tag).await?;
    }
    let promise = "a session lists each of its tags once";
    p.carries(promise, &key, &[one.clone(), other.clone()])
        .await?;
    p.untag(&key, &one).await?;
    p.carries("a tag taken off is not listed", &key, &[other])
        .await?;
    p.destroy(&key).await?;
    harness.advance(harness.short_ttl()).await;
    for ended in [key, brief, p.key()?] {
        p.carries("what is not live has no tags", &ended, &[])
            .await?;
    }
    Ok(())
}

pub(super) async fn only_the_live_are_tagged<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (absent, destroyed) = (p.key()?, p.destroyed().await?.0);
    let expired = p.expired(harness).await?.0;
    for key in [absent, expired, destroyed] {
        let tag = p.new_tag()?;
        let promise = "only a live session can be tagged";
        p.holds(promise, !p.tag(&key, &tag).await?, "the answer was true")?;
        p.lists(promise, &tag, &[]).await?;
    }
    for key in [absent, expired] {
        let tag = p.new_tag()?;
        p.tag(&key, &tag).await?;
        let written = p.write(&key, "new", Expected::Absent).await?;
        p.done("tagging creates no session", written)?;
        p.lists(
            "a tag that was refused does not wait for a session",
            &tag,
            &[],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn outlive_writes<S: Store>(p: &Probe<S>) -> Verdict {
    let tag = p.new_tag()?;
    let (key, record) = p.fresh(LONG).await?;
    p.must_tag(&key, &tag).await?;
    let written = p
        .write(&key, "next", Expected::Version(record.version))
        .await?;
    p.done("tagging leaves the version as it is", written)?;
    p.write(&key, "any", Expected::Any).await?;
    p.write(&key, "refused", Expected::Absent).await?;
    p.touch(&key, LONG).await?;
    p.read_touching(&key, LONG).await?;
    p.lists("writes and touches leave a session its tags", &tag, &[key])
        .await
}

pub(super) async fn end_with_the_session<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let tag = p.new_tag()?;
    let (brief, _) = p.fresh(harness.short_ttl()).await?;
    let (doomed, _) = p.fresh(LONG).await?;
    let (longer, _) = p.fresh(harness.short_ttl()).await?;
    for key in [&brief, &doomed, &longer] {
        p.must_tag(key, &tag).await?;
    }
    p.touch(&longer, LONG).await?;
    p.destroy(&doomed).await?;
    p.lists("a destroyed session is not listed", &tag, &[brief, longer])
        .await?;
    harness.advance(harness.short_ttl()).await;
    let promise = "an expired session is not listed, one that was touched in time is";
    p.lists(promise, &tag, &[longer]).await?;

    let promise = "a new session under an old key has no tags";
    p.done(promise, p.write(&brief, "new", Expected::Absent).await?)?;
    p.lists(promise, &tag, &[longer]).await?;
    harness.advance(harness.tombstone_ttl()).await;
    p.done(promise, p.write(&doomed, "new", Expected::Any).await?)?;
    p.lists(promise, &tag, &[longer]).await
}

pub(super) async fn follow_a_move<S: Store>(p: &Probe<S>) -> Verdict {
    let (one, other, own) = (p.new_tag()?, p.new_tag()?, p.new_tag()?);
    let (old, new) = (p.fresh(LONG).await?.0, p.fresh(LONG).await?.0);
    for (key, tag) in [(&old, &one), (&old, &other), (&new, &own), (&new, &other)] {
        p.must_tag(key, tag).await?;
    }
    let promise = "a move to what is not live, or to where the tags are, changes nothing";
    for to in [p.key()?, p.destroyed().await?.0, old] {
        p.copy_tags(&old, &to).await?;
        p.move_tags(&old, &to).await?;
    }
    p.lists(promise, &one, &[old]).await?;
    p.lists(promise, &other, &[old, new]).await?;

    p.copy_tags(&old, &new).await?;
    let promise = "copied tags are on both sessions, beside those the new one had";
    p.lists(promise, &one, &[old, new]).await?;
    p.lists(promise, &other, &[old, new]).await?;
    p.lists(promise, &own, &[new]).await?;

    p.move_tags(&old, &new).await?;
    let promise = "moved tags are on the new session alone, beside those it had";
    for tag in [&one, &other, &own] {
        p.lists(promise, tag, &[new]).await?;
    }
    p.move_tags(&old, &new).await?;
    p.destroy(&old).await?;
    p.move_tags(&old, &new).await?;
    let promise = "moved tags stay when the old session goes";
    for tag in [&one, &other, &own] {
        p.lists(promise, tag, &[new]).await?;
    }
    Ok(())
}

pub(super) async fn names_are_text<S: Store>(p: &Probe<S>) -> Verdict {
    let unique = p.key()?.to_string();
    let names = [
        "", ":", "*", "}", "\u{0}", "\r\n", "é", "e\u{301}", " ", "A", "a", "/../",
    ];
    let mut tagged = Vec::new();
    for name in names {
        let tag = p.tag_named(format!("{{{unique}}}{name}"))?;
        let (key, _) = p.fresh(LONG).await?;
        p.must_tag(&key, &tag).await?;
        tagged.push((tag, key));
    }
    let longest = p.tag_named(format!(
        "{unique}{}",
        "x".repeat(Tag::MAX_LEN - unique.len())
    ))?;
    let (key, _) = p.fresh(LONG).await?;
    p.must_tag(&key, &longest).await?;
    tagged.push((longest, key));
    for (tag, key) in tagged {
        p.lists("tags with different names are different tags", &tag, &[key])
            .await?;
    }
    Ok(())
}

pub(super) async fn are_limited<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, _) = p.fresh(LONG).await?;
    let mut tags = Vec::new();
    for _ in 0..MAX_TAGS {
        let tag = p.new_tag()?;
        p.must_tag(&key, &tag).await?;
        tags.push(tag);
    }
    let over = p.new_tag()?;
    let promise = "one tag more than a session may carry is an error, and changes nothing";
    refused(p, promise, |store| store.tag(&key, &over)).await?;
    p.lists(promise, &over, &[]).await?;

    let (other, _) = p.fresh(LONG).await?;
    p.must_tag(&other, &over).await?;
    refused(p, promise, |store| store.move_tags(&other, &key)).await?;
    p.lists(promise, &over, &[other]).await?;
    for tag in &tags {
        p.must_tag(&key, tag).await?;
        p.lists("a session carries as many tags as it may", tag, &[key])
            .await?;
    }
    if let [first, ..] = &*tags {
        p.untag(&key, first).await?;
    }
    p.must_tag(&key, &over).await
}

/// Holds the store to answering this call with an error.
async fn refused<S: Store, T: Unpin>(
    p: &Probe<S>,
    promise: &str,
    call: impl FnOnce(&dyn TagStore) -> StoreFuture<T>,
) -> Verdict {
    let Some(tags) = p.store.tags() else {
        return Ok(());
    };
    let answer = call(tags).await;
    p.holds(promise, answer.is_err(), "it was accepted")
}
