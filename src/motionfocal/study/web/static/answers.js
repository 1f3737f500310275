"use strict";
// The answer: a side for each question, and reasons for it. `current` is the question that the keys answer.
function createAnswers(form, changed) {
  const questions = all(".question", form).map((root) => ({
    root,
    id: root.dataset.id,
    required: root.hasAttribute("data-required"),
    sides: all("input[type=radio]", root),
    reasons: all("input[type=checkbox]", root),
  }));
  const comment = form.elements.comment;
  const submit = find("#submit");
  let current = questions[0];

  const choiceOf = ({ sides }) => sides.find(({ checked }) => checked)?.value;
  const reasonsOf = ({ reasons }) => reasons.filter(({ checked }) => checked).map(({ value }) => value);
  const questionOf = (element) => questions.find(({ root }) => root.contains(element));

  // What a question still needs, in words; "" when it is answered.
  function missing(question) {
    const choice = choiceOf(question);
    if (!choice) return "Choose a video.";
    const unexplained = question.required && question.reasons.length && !reasonsOf(question).length;
    return choice !== "tie" && unexplained ? `Say why the ${choice} one: tick at least one reason.` : "";
  }

  const unanswered = () => questions.find((question) => question !== current && missing(question));

  // Set an input as a click would, unless it is locked.
  function set(input, checked) {
    if (!input || input.matches(":disabled")) return;
    input.checked = checked;
    changed();
  }

  // Bring the form in line with what is chosen; `open`: it may be answered now.
  function refresh(open) {
    for (const question of questions) {
      const choice = choiceOf(question);
      const why = find(".why", question.root);
      find(".sides", question.root).disabled = !open;
      if (why) why.disabled = !open || !choice || choice === "tie";
      if (choice === "tie") for (const reason of question.reasons) reason.checked = false;
      question.root.classList.toggle("current", question === current);
    }
    for (const side of ["left", "right"]) find(`.clip.${side}`).classList.toggle("chosen", choiceOf(current) === side);
    comment.disabled = !open;
    submit.textContent = !missing(current) && unanswered() ? "Next question" : "Submit";
    submit.setAttribute("aria-disabled", String(!open || Boolean(missing(current))));
  }

  function restore({ answers = {}, comment: written = "" }) {
    for (const question of questions) {
      const { choice, reasons = [] } = answers[question.id] ?? {};
      for (const side of question.sides) side.checked = side.value === choice;
      for (const reason of question.reasons) reason.checked = reasons.includes(reason.value);
    }
    comment.value = written;
    if (written) comment.closest("details").open = true;
  }

  function turnTo(question) {
    if (!question || question === current) return;
    current = question;
    question.root.scrollIntoView({ block: "nearest" });
    changed();
  }

  form.addEventListener("input", (event) => { turnTo(questionOf(event.target)); changed(); });
  form.addEventListener("focusin", (event) => { // not between the press and the release of a click, which would miss
    if (event.target.matches(":focus-visible")) turnTo(questionOf(event.target));
  });
  comment.addEventListener("keydown", (event) => { if (event.key === "Escape") comment.blur(); });

  return {
    refresh,
    restore,
    choose: (side) => set(current.sides.find(({ value }) => value === side), true),
    tick: (place) => set(current.reasons[place], !current.reasons[place]?.checked),
    lacking: () => missing(current),
    next: unanswered,
    turnTo,
    drafted: () => ({
      answers: Object.fromEntries(questions.map((one) => [one.id, { choice: choiceOf(one), reasons: reasonsOf(one) }])),
      comment: comment.value,
    }),
    given: () => ({
      answers: questions.map((one) => ({ question: one.id, choice: choiceOf(one), reasons: reasonsOf(one) })),
      comment: comment.value,
    }),
  };
}
