// The tracker that a test runs: that of the ledger where HOLDFAST_TEST_LEDGER is defined.
#pragma once

#ifdef HOLDFAST_TEST_LEDGER
#include "support/ledger_tracker.hpp"
#else
#include <holdfast/opencode/turn_tracker.hpp>
#endif

namespace holdfast::test {

#ifdef HOLDFAST_TEST_LEDGER
using tracker_under_test = ledger_tracker;
#else
using tracker_under_test = opencode::turn_tracker;
#endif

} // namespace holdfast::test
