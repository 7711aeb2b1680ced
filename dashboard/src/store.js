// Values that several parts of the page follow.
import { useEffect, useState } from 'preact/hooks';

export function makeStore(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useStore(store) {
  const [value, set] = useState(store.get());
  useEffect(() => {
    set(store.get()); // it may have changed before anybody listened
    return store.follow(set);
  }, [store]);
  return value;
}
