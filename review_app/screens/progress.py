"""Progress: what waits, how good the readings are, what they led to, and what waits for the lead."""

from __future__ import annotations

from typing import Any

import streamlit as st

from data_contracts.errors import TailsightError
from data_contracts.ledger.approvals import approve, waiting_promotions
from data_contracts.records import PromotionRequest
from data_contracts.review import choices, roles
from data_contracts.review.progress_figures import PersonalFigures, ProgressFigures, progress_figures
from data_contracts.vocabulary import Role
from review_app import quantities
from review_app.gate_words import gate_sentences
from review_app.screens.people import add_person
from review_app.service import ReviewService, error_sentence
from review_app.texts import Texts


def show(service: ReviewService, who: str, texts: Texts) -> None:
    """Draw the screen."""
    lead = roles.role_of(service.ledger, who) == Role.LEAD
    figures = progress_figures(service.ledger, service.profile, who=who)
    with st.container(key="page"):
        _show_queue(figures, texts)
        left, right = st.columns([3, 2], gap="large")
        with left:
            _show_classes(figures, texts)
        with right:
            _show_agreement(figures, texts)
        if figures.personal is not None:
            _show_person(figures.personal, texts)
        _show_promotions(service, who, texts, lead=lead)
        if lead:
            _show_people(service, who, texts)


def _show_queue(figures: ProgressFigures, texts: Texts) -> None:
    waiting = figures.hold_waiting + figures.learn_waiting
    metrics = [
        (texts("progress.waiting_total"), str(waiting)),
        (texts("canvas.hold"), str(figures.hold_waiting)),
        (texts("progress.oldest"), quantities.age(figures.oldest_age_seconds, texts)),
        (texts("progress.hours_left"), quantities.hours(figures.hours_left, texts)),
        (texts("progress.disputed"), str(figures.disputed)),
        (texts("progress.closed"), str(figures.closed)),
    ]
    with st.container(horizontal=True, gap="medium"):
        for name, value in metrics:
            st.metric(name, value, border=True)
    capacity = f"{figures.capacity_hours_per_week:g}"
    st.caption(texts("progress.capacity", hours=f"{figures.hours_left:.1f}", capacity=capacity))
    if figures.next_due is not None:
        st.caption(texts("progress.due_next", time=figures.next_due.strftime("%H:%M")))
    if figures.overdue:
        st.error(f"{texts('progress.overdue')}: {figures.overdue}")


def _show_classes(figures: ProgressFigures, texts: Texts) -> None:
    st.subheader(texts("progress.per_class"))
    names = ("class", "open", "answers", "labelled")
    columns = [texts(f"progress.{name}") for name in names]
    rows = [dict(zip(columns, (c.name, c.waiting, c.answers, c.images), strict=True)) for c in figures.per_class]
    st.table(rows, hide_index=True, border="horizontal")


def _show_agreement(figures: ProgressFigures, texts: Texts) -> None:
    st.subheader(texts("progress.agreement"))
    found = figures.agreement
    kappa = texts("progress.kappa_none")
    if found.kappa is not None and found.kappa_low is not None and found.kappa_high is not None:
        kappa = f"{found.kappa:.2f} ({found.kappa_low:.2f} – {found.kappa_high:.2f})"
    with st.container(horizontal=True, gap="medium"):
        st.metric(f"κ, n = {found.pairs}", kappa, border=True, help=texts("progress.agreement_help"))
        st.metric(
            texts("progress.override_rate"),
            quantities.share(found.override_rate),
            border=True,
            help=texts("progress.override_help"),
        )
    if found.second_events:
        st.caption(texts("progress.read_first"))
        with st.container(horizontal=True, gap="medium"):
            st.metric(texts("progress.wrong_to_right"), found.wrong_to_right, border=True)
            st.metric(texts("progress.right_to_wrong"), found.right_to_wrong, border=True)


def _show_person(person: PersonalFigures, texts: Texts, *, own: bool = True) -> None:
    if own:
        st.subheader(texts("progress.mine"))
        st.caption(texts("progress.mine_help"))
    pace = quantities.seconds(person.seconds_per_answer, texts)
    speed = "–" if person.per_hour is None else f"{person.per_hour:.0f}"
    with st.container(horizontal=True, gap="medium"):
        st.metric(texts("progress.answers"), person.answers, border=True)
        st.metric(texts("progress.pace"), pace, border=True)
        st.metric(texts("progress.per_hour"), speed, border=True)
        st.metric(texts("progress.override_rate"), quantities.share(person.override_rate), border=True)
    if own and person.learned:
        newest = next((share for share in person.learned if share.champion), person.learned[0])
        st.success(texts("progress.corrections_in", version=newest.model_version))
    elif own and person.corrections:
        st.caption(texts("progress.learned_none"))


def _show_promotions(service: ReviewService, who: str, texts: Texts, *, lead: bool) -> None:
    st.subheader(texts("progress.automatic_waiting"))
    requests = waiting_promotions(service.ledger)
    if not requests:
        st.caption(texts("progress.no_promotions"))
    for request in requests:
        with st.container(border=True):
            _show_request(service, who, request, texts, lead=lead)


def _show_request(service: ReviewService, who: str, request: PromotionRequest, texts: Texts, *, lead: bool) -> None:
    st.markdown(f"**{texts('progress.requested', version=request.model_version, who=request.who)}**")
    st.write(request.why)
    sentences = "\n".join(f"- {sentence}" for sentence in gate_sentences(request.gate_report, texts))
    if request.gate_report.get("passed"):
        st.success(f"**{texts('progress.gate_passed')}**\n{sentences}")
    else:
        st.warning(f"**{texts('progress.gate_refused')}**\n{sentences}")
    if not lead:
        st.caption(texts("progress.lead_only"))
        return
    why = st.text_input(texts("progress.why"), placeholder=texts("progress.why_needed"), key=f"why-{request.sequence}")
    with st.container(horizontal=True):
        yes = st.button(texts("progress.approve"), type="primary", key=f"approve-{request.sequence}")
        no = st.button(texts("progress.reject"), key=f"reject-{request.sequence}")
    if yes or no:
        try:
            approve(service.ledger, who, request.sequence, approved=yes, why=why)
        except TailsightError as error:
            st.error(error_sentence(error, texts))
        else:
            st.rerun()


def _show_people(service: ReviewService, who: str, texts: Texts) -> None:
    st.subheader(texts("progress.people"))
    known = roles.people(service.ledger)
    names = {texts(f"app.role_{role.value}"): role for role in Role}
    columns = st.columns(3)
    for place, person in enumerate(known):
        now = texts(f"app.role_{person.role.value}")
        chosen = columns[place % 3].selectbox(person.who, list(names), list(names).index(now), key=f"role-{person.who}")
        if names[chosen] != person.role:
            _try(lambda p=person, r=names[chosen]: roles.set_role(service.ledger, p.who, r, by=who), texts)
    add_person(service, who, texts)
    shown = choices.choice(service.ledger, choices.PERSONAL_FIGURES) == "leads"
    wanted = st.toggle(texts("progress.personal_switch"), value=shown, key="personal-switch")
    st.caption(texts("progress.personal_on" if shown else "progress.personal_off"))
    if wanted != shown:
        value = "leads" if wanted else "own"
        _try(lambda: choices.choose(service.ledger, who, choices.PERSONAL_FIGURES, value), texts)
    others = [person.who for person in known if person.who != who]
    if shown and others:
        other = st.selectbox(texts("progress.of_person"), others, key="figures-of")
        figures = progress_figures(service.ledger, service.profile, who=other, asked_by=who)
        if figures.personal is not None:
            _show_person(figures.personal, texts, own=False)


def _try(change: Any, texts: Texts) -> None:
    try:
        change()
    except TailsightError as error:
        st.error(error_sentence(error, texts))
    else:
        st.rerun()
