"""Which Postfix transport mail for a mailbox provider takes on a sender.

One transport a provider that has a share of the daily cap, and `warm` for everything else. The
transports and the map from recipient domain to transport are static (master.cf and a map that
the Postfix role writes); a stage changes only numbers in main.cf, see `parameters`.
"""

from __future__ import annotations

from mailfleet.fleet.model import Fleet

WARM = "warm"

# Consumer domains by mailbox provider. Domains of companies hosted at Google Workspace or
# Microsoft 365 are not here: only their MX tells, which a static list cannot know. A domain that is
# missing costs nothing but precision: its mail is paced with the rest, in `warm`.
_MICROSOFT_HOTMAIL = (
    "hotmail.be hotmail.ca hotmail.ch hotmail.cl hotmail.co.il hotmail.co.in hotmail.co.jp "
    "hotmail.co.kr hotmail.co.nz hotmail.co.th hotmail.co.uk hotmail.co.za hotmail.com "
    "hotmail.com.ar hotmail.com.au hotmail.com.br hotmail.com.hk hotmail.com.tr hotmail.com.tw "
    "hotmail.cz hotmail.de hotmail.dk hotmail.es hotmail.fi hotmail.fr hotmail.gr hotmail.hu "
    "hotmail.it hotmail.lt hotmail.lv hotmail.my hotmail.nl hotmail.no hotmail.ph hotmail.rs "
    "hotmail.se hotmail.sg"
)
_MICROSOFT_LIVE = (
    "live.at live.be live.ca live.cl live.cn live.co.kr live.co.uk live.co.za live.com live.com.ar "
    "live.com.au live.com.mx live.com.my live.com.ph live.com.pt live.com.sg live.de live.dk "
    "live.fi live.fr live.hk live.ie live.in live.it live.jp live.nl live.no live.ru live.se"
)
_MICROSOFT_OUTLOOK = (
    "outlook.at outlook.be outlook.cl outlook.co.id outlook.co.il outlook.co.th outlook.com "
    "outlook.com.ar outlook.com.au outlook.com.br outlook.com.gr outlook.com.tr outlook.com.vn "
    "outlook.cz outlook.de outlook.dk outlook.es outlook.fr outlook.hu outlook.ie outlook.in "
    "outlook.it outlook.jp outlook.kr outlook.lv outlook.my outlook.ph outlook.pt outlook.sa "
    "outlook.sg outlook.sk"
)
_YAHOO = (
    "yahoo.ca yahoo.co.id yahoo.co.in yahoo.co.nz yahoo.co.th yahoo.co.uk yahoo.co.za yahoo.com "
    "yahoo.com.ar yahoo.com.au yahoo.com.br yahoo.com.co yahoo.com.hk yahoo.com.mx yahoo.com.my "
    "yahoo.com.pe yahoo.com.ph yahoo.com.sg yahoo.com.tr yahoo.com.tw yahoo.com.vn yahoo.cz "
    "yahoo.de yahoo.dk yahoo.es yahoo.fi yahoo.fr yahoo.gr yahoo.hu yahoo.ie yahoo.in yahoo.it "
    "yahoo.nl yahoo.no yahoo.pl yahoo.pt yahoo.ro yahoo.se myyahoo.com ymail.com rocketmail.com"
)
_AOL = (
    "aim.com aol.co.uk aol.com aol.com.au aol.com.br aol.com.mx aol.de aol.es aol.fr aol.it aol.se "
    "cs.com netscape.net verizon.net wow.com"
)

_DOMAINS: dict[str, tuple[str, ...]] = {
    "google": ("gmail.com", "googlemail.com"),
    "microsoft": (
        *_MICROSOFT_OUTLOOK.split(),
        *_MICROSOFT_HOTMAIL.split(),
        *_MICROSOFT_LIVE.split(),
        "msn.com",
        "windowslive.com",
        "passport.com",
    ),
    "yahoo": (*_YAHOO.split(), *_AOL.split()),
    "apple": ("icloud.com", "me.com", "mac.com"),
}


def provider_domains() -> dict[str, str]:
    """Consumer recipient domain to the mailbox provider that runs it: google, microsoft, ..."""
    return {domain: provider for provider, domains in _DOMAINS.items() for domain in domains}


def transport_of(provider: str) -> str:
    """The transport of one mailbox provider: google has warm-google."""
    return f"{WARM}-{provider}"


def transports(fleet: Fleet) -> tuple[str, ...]:
    """Every paced transport of a sender: `warm` first, then one a provider with a share, by name.

    The names are those of the services in master.cf, and the prefixes of their parameters in
    main.cf: `warm-google` has `warm-google_transport_rate_delay`.
    """
    return (WARM, *(transport_of(provider) for provider in sorted(fleet.warmup.shares)))


def transport_map(fleet: Fleet) -> dict[str, str]:
    """Recipient domain to transport, for the domains of providers that have a share, by name.

    Everything that is not in it takes `default_transport`, which is `warm`.
    """
    return {
        domain: transport_of(provider)
        for domain, provider in sorted(provider_domains().items())
        if provider in fleet.warmup.shares
    }
