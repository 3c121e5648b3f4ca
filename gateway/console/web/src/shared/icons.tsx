// Icons are drawn in 16 by 16, in the colour of the text beside them, which says
// the same: they are hidden from screen readers.
const paths = {
  overview: "M2 13.5V9M6 13.5V4M10 13.5V7M14 13.5V2.5",
  users: "M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 2.8a2.5 2.5 0 0 1 0 4.4M12 9.8c1.5.5 2.5 1.8 2.5 3.7",
  message: "M2 3.5h12v8H7l-3 2.5v-2.5H2zM5 6.5h6M5 8.7h4",
  live: "M1.5 8h3l2-5 3 10 2-5h3",
  send: "M14 2 7 9M14 2 9.5 14 7 9 2 6.5z",
  errors: "M8 2 14.5 13.5h-13zM8 6.5v3M8 11.5v.1",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM14 14l-3.4-3.4",
  ok: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM5 8.2l2.2 2.2L11 6",
  warn: "M8 2 14.5 13.5h-13zM8 6.5v3M8 11.5v.1",
  bad: "M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3zM6 6l4 4M10 6l-4 4",
  idle: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM5 8h6",
  info: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM8 7.5v3.5M8 5v.1",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
  check: "M3 8.5l3.2 3.2L13 4.5",
  pause: "M5 3v10M11 3v10",
  play: "M4.5 2.5 13 8l-8.5 5.5z",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.5L4.5 7",
  key: "M10.5 9a3.5 3.5 0 1 0-3.3-2.3L2 12v2h2.5v-1.5H6V11l1.3-1.3",
  node: "M2.5 2.5h11v4.5h-11zM2.5 9h11v4.5h-11zM5 4.8v.1M5 11.3v.1",
  crown: "M2 12.5h12M2.5 10.5 2 4.5l3.5 2.5L8 3l2.5 4L14 4.5l-.5 6z",
  arrow: "M3 8h10M9 4l4 4-4 4",
  away: "M2 2l12 12M4.5 9.5a5 5 0 0 1 2-1.3M2 6.5a9 9 0 0 1 2.2-1.5M7.5 4a9 9 0 0 1 6.5 2.5M10.5 8.8l1 .7M8 12.5v.1",
  globe: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM1.5 8h13M8 1.5c2 2 2.5 4 2.5 6.5S10 12.5 8 14.5C6 12.5 5.5 10.5 5.5 8S6 3.5 8 1.5Z",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

export function Mark({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#2f5fe0" />
      <path d="M5 21h22M9 21v-6M23 21v-6M5 15c4 0 4-5 4-5s2 5 7 5 7-5 7-5 0 5 4 5" fill="none" stroke="#fff" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
