"""DNS messages on the wire, by dnspython: a query in, a response out. No sockets, no clock.

A response over UDP never exceeds what the asker takes (512 bytes, or its EDNS size up to
1232, which no usual path fragments): what does not fit is left out and the TC bit set, and
the asker comes back over TCP.
"""

from __future__ import annotations

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from meshcrdt.daemon.dns.zone import Record, Verdict, Zone

UDP_BYTES_MIN = 512
UDP_BYTES_MAX = 1232
TCP_BYTES_MAX = 65_535
HEADER_BYTES = 12

_RCODES = {
    Verdict.ANSWER: dns.rcode.NOERROR,
    Verdict.NODATA: dns.rcode.NOERROR,
    Verdict.NXDOMAIN: dns.rcode.NXDOMAIN,
    Verdict.REFUSED: dns.rcode.REFUSED,
}


def respond(zone: Zone, data: bytes, *, over_tcp: bool) -> bytes | None:
    """Return the response to a query, or None for what deserves none.

    Nothing answers a response (two servers would talk for ever) or a message too short to
    carry an id.
    """
    if len(data) < HEADER_BYTES or data[2] & 0x80:
        return None
    try:
        query = dns.message.from_wire(data, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError, IndexError):
        return _format_error(data)
    response = _answered(zone, query)
    limit = TCP_BYTES_MAX
    if not over_tcp:
        limit = UDP_BYTES_MIN
        if query.edns >= 0:
            limit = min(max(query.payload, UDP_BYTES_MIN), UDP_BYTES_MAX)
    return _fitted(response, limit)


def _answered(zone: Zone, query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query, our_payload=UDP_BYTES_MAX)
    response.flags &= ~dns.flags.RA
    if query.edns > 0:
        response.set_rcode(dns.rcode.BADVERS)
        return response
    if query.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
        return response
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response
    question = query.question[0]
    if question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        response.set_rcode(dns.rcode.REFUSED)
        return response
    try:
        name = question.name.to_text()
        kind = dns.rdatatype.to_text(question.rdtype)
        answer = zone.query(name, kind, rotation=query.id)
    except ValueError:
        # A label that is no host name, such as one with a dot inside: it cannot be ours.
        response.set_rcode(dns.rcode.REFUSED)
        return response
    response.set_rcode(_RCODES[answer.verdict])
    if answer.verdict is not Verdict.REFUSED:
        response.flags |= dns.flags.AA
    for section, records in (
        (response.answer, answer.answers),
        (response.authority, answer.authority),
    ):
        for record in records:
            _add(section, record)
    return response


def _add(section: list[dns.rrset.RRset], record: Record) -> None:
    """Add a record to its set in a section, making the set when it is the first."""
    kind = dns.rdatatype.from_text(record.kind)
    owner = dns.name.from_text(record.owner)
    data = dns.rdata.from_text(dns.rdataclass.IN, kind, record.text)
    for existing in section:
        if existing.name == owner and existing.rdtype == kind:
            existing.add(data, record.ttl_s)
            return
    fresh = dns.rrset.RRset(owner, dns.rdataclass.IN, kind)
    fresh.add(data, record.ttl_s)
    section.append(fresh)


def _fitted(response: dns.message.Message, limit: int) -> bytes:
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.additional.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)


def _format_error(data: bytes) -> bytes:
    """Return FORMERR with the asker's id and nothing else: never larger than the query."""
    flags = dns.flags.QR | (int.from_bytes(data[2:4], "big") & dns.flags.RD)
    flags |= int(dns.rcode.FORMERR)
    return data[:2] + flags.to_bytes(2, "big") + bytes(8)
