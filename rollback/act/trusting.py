"""Changing whom to believe: other people or another policy, accepted under the old ones.

Hides: what is signed, and that the first of all people are believed without a witness.
Never: asks somebody whom only the new declaration knows.
"""

from __future__ import annotations

import platform

from rollback.act.site import Site
from rollback.host.signing import sign, verified
from rollback.keep import trust
from rollback.model import pinned
from rollback.model.errors import NotAuthorized
from rollback.model.event import canonical
from rollback.model.people import Member

NAMESPACE = "rollback-trust-v1"


def may_accept(site: Site) -> tuple[str, ...]:
    """The people whose word changes what is believed; empty before anything is."""
    return tuple(member.id for member in trust.keepers(site.state.tree))


def unaccepted(site: Site) -> NotAuthorized | None:
    """Why no run would begin: people or policy are not those that are believed; None where they are."""
    try:
        trust.require(site.system, site.state.tree)
    except NotAuthorized as error:
        return error
    return None


def accept(site: Site, *, person: str, key: str = "") -> str:
    """The declaration's people and policy are believed from now on; the digest.

    Raises: NotAuthorized when the person held no owner's role before, or a key was not used.
    """
    tree = site.state.tree
    before, now = trust.pinned(tree), site.system.authority_digest
    keepers = {member.id: member for member in trust.keepers(tree)}
    if keepers:
        if person not in keepers:
            raise NotAuthorized(
                f"{person} may not change what is believed", where=str(site.system.declaration),
                hint=f"only who is believed already may: {', '.join(keepers)}",
            )  # fmt: skip
        _signed(keepers[person], key, before, now)
    site.tell("trust.pinned", authority=now, before=before, by=person, format=pinned.FORMAT)
    trust.pin(site.system, tree, site.host, site.hidden)
    site.anchor()
    return now


def _signed(member: Member, key: str, before: str, now: str) -> None:
    if not member.key:
        return
    if not key:
        raise NotAuthorized(
            f"{member.id} has a declared key, so this must be signed with it",
            hint=f"type: rollback trust --as {member.id} --key FILE",
        )
    said = canonical({"before": before, "now": now, "host": platform.node(), "by": member.id})
    signature = sign(said, key, namespace=NAMESPACE)
    if not verified(said, signature, member.key, member.id, namespace=NAMESPACE):
        raise NotAuthorized(
            f"the key is not the one declared for {member.id}", where=key,
            hint="sign with the private half of the key that was declared before the change",
        )  # fmt: skip
