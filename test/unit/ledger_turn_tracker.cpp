// The cases of turn_tracker.cpp, run with the tracker of the ledger.
#define HOLDFAST_TEST_LEDGER
#include "turn_tracker.cpp"
