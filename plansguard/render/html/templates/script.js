// Without JavaScript everything is shown, and there are no buttons to copy.
for (const code of document.querySelectorAll("code.typed")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    const text = code.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page that was opened as a file may not use the clipboard: select the command instead.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  code.after(" ", button);
}
