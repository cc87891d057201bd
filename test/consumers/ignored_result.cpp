// Ignores a result of a function that is not marked itself: a compiler must warn.
#include <holdfast/retry/failure.hpp>

holdfast::result<void> changes_something();

void ignores_it() {
    changes_something();
}
