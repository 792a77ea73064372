/* The form of a schedule: what it says, and what is wrong with it, while it is typed. */
"use strict";

{
    const PAUSE = 200; // ms without a key, before the server is asked

    class Preview {
        constructor(place) {
            this.place = place;
            this.form = place.closest("form");
            this.touched = new Set();
            this.fields = new Map(); // name -> its inputs and where its problem is told
            this.timer = 0;
            this.request = null;
            this.begin();
        }

        begin() {
            this.show(JSON.parse(this.place.dataset.told));
            this.find();
            if (!this.fields.has("cron")) {
                return; // someone who may only look
            }
            this.form.addEventListener("input", event => this.changed(event, PAUSE));
            this.form.addEventListener("change", event => this.changed(event, 0));
            this.form.addEventListener("click", event => {
                if (event.target.closest(".datetimeshortcuts, .calendarbox, .clockbox")) {
                    this.later(PAUSE); // the calendar writes without an event
                }
            });
            if (new URL(this.place.dataset.url, location).searchParams.has("id")) {
                this.fields.forEach((_, name) => this.touched.add(name));
            }
            this.fold();
            this.form.addEventListener("change", () => this.fold());
            this.ask();
        }

        /* Why it is disabled is asked only where it is. */
        fold() {
            const {row, inputs} = this.fields.get("why");
            row.classList.toggle("hidden", this.fields.get("enabled").inputs[0].checked && !inputs[0].value);
        }

        find() {
            for (const row of this.form.querySelectorAll(".form-row")) {
                const inputs = [...row.querySelectorAll("input[name], textarea[name], select[name]")];
                if (!inputs.length) {
                    continue;
                }
                const name = nameOf(inputs[0]);
                const told = row.querySelector(":scope > .errorlist");
                const problem = document.createElement("div");
                problem.className = "help delayserver-problem"; // where the help is, at every width
                problem.id = `delayserver-problem-${name}`;
                problem.setAttribute("aria-live", "polite");
                row.querySelector(".flex-container").after(problem);
                if (told) {
                    this.touched.add(name);
                }
                for (const input of inputs) {
                    const others = input.getAttribute("aria-describedby");
                    input.setAttribute("aria-describedby", [others, problem.id].filter(Boolean).join(" "));
                }
                this.fields.set(name, {inputs, told, row, problem});
            }
        }

        changed(event, pause) {
            if (event.target.name) {
                this.touched.add(nameOf(event.target));
                this.later(pause);
            }
        }

        later(pause) {
            clearTimeout(this.timer);
            this.request?.abort(); // its answer would be to what was there before
            this.timer = setTimeout(() => this.ask(), pause);
        }

        async ask() {
            clearTimeout(this.timer);
            this.request?.abort();
            const request = this.request = new AbortController();
            this.place.setAttribute("aria-busy", "true");
            try {
                const answer = await fetch(this.place.dataset.url, {
                    method: "POST",
                    body: new FormData(this.form),
                    headers: {Accept: "application/json"},
                    redirect: "error", // to the login page, if the session has ended
                    signal: request.signal,
                });
                if (!answer.ok && answer.status !== 413) {
                    throw new Error(`status ${answer.status}`);
                }
                const told = await answer.json();
                this.mark(told.errors);
                this.show(told);
            } catch (error) {
                if (request.signal.aborted) {
                    return; // a later one is on its way
                }
                this.show({note: "The server does not answer just now, so nothing can be shown here."});
            }
            this.place.removeAttribute("aria-busy");
        }

        /* Each error beside its field, once someone has been there. */
        mark(errors) {
            for (const [name, field] of this.fields) {
                const wrong = this.touched.has(name) ? errors[name] ?? [] : [];
                field.told?.remove();
                field.told = null;
                field.row.classList.toggle("errors", wrong.length > 0);
                if (field.problem.textContent !== wrong.join(" ")) {
                    field.problem.textContent = wrong.join(" ");
                    const fold = field.row.closest("details");
                    if (fold && wrong.length) {
                        fold.open = true;
                    }
                }
                for (const input of field.inputs) {
                    input.setAttribute("aria-invalid", String(wrong.length > 0));
                }
            }
        }

        show({errors = {}, reading = "", zone = "", times = [], note = ""}) {
            const parts = [];
            if (reading) {
                parts.push(made("p", reading, "delayserver-reading"));
            }
            if (times.length) {
                const table = made("table", "", "delayserver-times");
                for (const {day, time, offset, mark} of times) {
                    const row = table.insertRow();
                    row.append(made("td", day), made("td", time), made("td", offset));
                    row.append(made("td", mark, "delayserver-mark"));
                }
                parts.push(table, made("p", `The next times, in ${zone}.`, "delayserver-quiet"));
            }
            for (const text of errors.__all__ ?? []) {
                parts.push(made("p", text, "delayserver-problem"));
            }
            if (note) {
                parts.push(made("p", note, "delayserver-quiet"));
            }
            if (!parts.length) {
                const wait = "What it means, and its next five times, are shown here as soon as they can be told.";
                parts.push(made("p", wait, "delayserver-quiet"));
            }
            this.place.replaceChildren(...parts);
        }
    }

    /* Django's own date fields have two inputs: starts_0 and starts_1. */
    const nameOf = input => input.name.replace(/_[01]$/, "");

    const made = (tag, text, kind = "") => {
        const element = document.createElement(tag);
        element.textContent = text;
        element.className = kind;
        return element;
    };

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll(".delayserver-preview").forEach(place => new Preview(place));
    });
}
