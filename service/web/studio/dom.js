// Elements from plain values. Text is always text: nothing here reads markup.

/** An element. Properties that begin with `on` are listeners; `false`, `null` and `undefined` are left out, `true` is bare. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  return fill(element, ...children);
}

/** Put these children in place of whatever an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Change a text only if it is another one, so that nobody is read the same thing twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Have a screen reader say it when it has time. */
export function announce(text) {
  setText(document.getElementById("announcer"), text);
}

/** A choice of one of a few, as radio buttons side by side. `options`: [value, label] pairs. */
export function segmented(legend, name, options, value, onchange) {
  const radios = options.map(([each, label]) =>
    h("label", {}, h("input", { type: "radio", name, value: each, checked: each === value, onchange: () => onchange(each) }),
      h("span", {}, label)));
  return h("fieldset", { class: "segmented" }, h("legend", {}, legend), h("div", {}, radios));
}

/** A labelled field with an optional remark under it. */
export function field(label, control, remark) {
  return h("label", { class: "field" }, h("span", { class: "label" }, label), control,
    remark && h("span", { class: "remark" }, remark));
}

/** Ask before something that cannot be undone. Resolves to whether it was confirmed. */
export function confirmed(question, remark, deed) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-label": question, onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    } },
    h("h2", {}, question), h("p", {}, remark),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, deed),
      h("button", { type: "button", autofocus: true, onclick: () => dialog.close("no") }, "Keep it")));
    document.body.append(dialog);
    dialog.showModal();
  });
}
