"""What a PostgreSQL database holds, in figures: rows and a checksum for each table, its schema.

Hides: the catalogue's queries.
Never: changes a database.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rollback.host.postgres import Server, Session, identifier, literal, one_moment
from rollback.model.finding import Json

_TABLES = """
select n.nspname as schema, c.relname as name from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and c.relpersistence = 'p'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by 1, 2"""

# The order of rows means nothing, so their digests are added up, in two halves.
_SUM = """
select count(*) as rows,
  coalesce(sum(('x' || left(m, 16))::bit(64)::bigint::numeric), 0)::text || '/' ||
  coalesce(sum(('x' || right(m, 16))::bit(64)::bigint::numeric), 0)::text as sum
from (select md5(t::text) as m from only {name} t) x"""

_DATABASE = """
select to_json(d) as d, pg_encoding_to_char(d.encoding) as encoding,
  pg_get_userbyid(d.datdba) as owner, d.oid::bigint as oid, d.datallowconn as open
from pg_database d where d.datname = {name}"""


def held(server: Server) -> dict[str, Json]:
    """Tables with rows and checksum, and the digest of the schema, at one moment."""
    with one_moment(server) as (session, moment):
        return figures(server, session, moment)


def figures(server: Server, session: Session, moment: str) -> dict[str, Json]:
    """As `held`, at the moment of an open session."""
    tables: dict[str, Json] = {}
    for row in session.ask(_TABLES):
        name = f"{row['schema']}.{row['name']}"
        full = f"{identifier(row['schema'])}.{identifier(row['name'])}"
        (found,) = session.ask(_SUM.format(name=full))
        tables[name] = {"rows": found["rows"], "sum": found["sum"]}
    schema = hashlib.sha256(server.schema(moment=moment)).hexdigest()
    return {"tables": tables, "schema": schema}


def described(maintenance: Server, name: str) -> dict[str, Any] | None:
    """What the server knows of a database; None when there is none of that name."""
    rows = maintenance.ask(_DATABASE.format(name=literal(name)))
    if not rows:
        return None
    row, known = rows[0], rows[0]["d"]
    return {
        "oid": row["oid"], "open": row["open"], "owner": row["owner"], "encoding": row["encoding"],
        "collate": known.get("datcollate") or "C", "ctype": known.get("datctype") or "C",
        "provider": known.get("datlocprovider") or "c",
        "locale": known.get("datlocale") or known.get("daticulocale") or "",
    }  # fmt: skip


def creation(side: str, like: dict[str, Any]) -> str:
    """The statement that makes an empty database with the owner, encoding and order of another."""
    parts = [
        f"create database {identifier(side)} with template template0 owner {identifier(like['owner'])}",
        f"encoding {literal(like['encoding'])} lc_collate {literal(like['collate'])}",
        f"lc_ctype {literal(like['ctype'])}",
    ]
    if like["provider"] == "i":
        parts.append(f"locale_provider icu icu_locale {literal(like['locale'])}")
    elif like["provider"] == "b":
        parts.append(f"locale_provider builtin builtin_locale {literal(like['locale'])}")
    return " ".join(parts) + ";"


_SETTINGS = """
select r.rolname as role, split_part(one, '=', 1) as name,
  substr(one, strpos(one, '=') + 1) as value
from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) one
where d.datname = {name} order by 1, 2"""
_GRANTS = """
select case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as role,
  a.privilege_type as may, a.is_grantable as further
from pg_database d, aclexplode(d.datacl) a where d.datname = {name} order by 1, 2"""
_LISTS = frozenset({"local_preload_libraries", "search_path", "session_preload_libraries",
                    "temp_tablespaces", "unix_socket_directories"})  # fmt: skip


def likeness(maintenance: Server, old: str, side: str) -> str:
    """The statements that give a database the settings and privileges of another."""
    said = [f"revoke all on database {identifier(side)} from public;"]
    grants = maintenance.ask(_GRANTS.format(name=literal(old)))
    if not grants:  # as the server grants by itself
        said = []
    for row in grants:
        who = identifier(row["role"]) if row["role"] else "public"
        further = " with grant option" if row["further"] and row["role"] else ""
        said.append(f"grant {row['may']} on database {identifier(side)} to {who}{further};")
    for row in maintenance.ask(_SETTINGS.format(name=literal(old))):
        who = f"role {identifier(row['role'])} in database" if row["role"] else "database"
        value = row["value"] if row["name"] in _LISTS else literal(row["value"])
        said.append(f"alter {who} {identifier(side)} set {identifier(row['name'])} to {value};")
    return "\n".join(said)
