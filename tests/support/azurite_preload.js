// Loaded into Azurite before its own code.
"use strict";
const fs = require("fs");
const { createRequire } = require("module");

// Its clock runs ahead by the seconds in a file, so that tests let visibility times pass without
// waiting. Timers keep their own time.
const clockFile = process.env.AZURITE_CLOCK_FILE;
const RealDate = Date;
function aheadMs() {
  return 1000 * Number(fs.readFileSync(clockFile, "utf8") || 0);
}
global.Date = class Date extends RealDate {
  constructor(...args) {
    if (args.length === 0) {
      super(RealDate.now() + aheadMs());
    } else {
      super(...args);
    }
  }
  static now() {
    return RealDate.now() + aheadMs();
  }
};

// Azurite acknowledges writes up to five seconds before its databases reach the disk; Azure does
// not. So a power cut (SIGUSR2) writes them first, in one turn of the event loop: everything that
// was acknowledged is kept, everything that is under way is cut off.
const Loki = createRequire(process.argv[1])("lokijs");
const databases = new Set();
const saveDatabase = Loki.prototype.saveDatabase; // called by every store when it starts
Loki.prototype.saveDatabase = function (...args) {
  databases.add(this);
  return saveDatabase.apply(this, args);
};
process.on("SIGUSR2", () => {
  for (const database of databases) {
    fs.writeFileSync(database.filename, database.serialize());
  }
  process.kill(process.pid, "SIGKILL");
});
