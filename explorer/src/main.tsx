/** Entry of the page. */

import { render } from "preact";

function Page() {
  return (
    <main>
      <h1>Cohort Explorer</h1>
    </main>
  );
}

const host = document.getElementById("app");
if (host !== null) {
  render(<Page />, host);
}
