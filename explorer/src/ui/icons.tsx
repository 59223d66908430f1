/** Line icons, drawn here: nothing is fetched for them. They say nothing to those who hear the page. */
import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const SearchIcon = () => <Icon><circle cx="9" cy="9" r="5.5" /><path d="m13 13 4 4" /></Icon>;
export const CloseIcon = () => <Icon><path d="m5 5 10 10M15 5 5 15" /></Icon>;
export const PlusIcon = () => <Icon><path d="M10 4v12M4 10h12" /></Icon>;
export const MinusIcon = () => <Icon><path d="M4 10h12" /></Icon>;
export const HandIcon = () => <Icon><path d="M10 3v14M3 10h14M10 3 8 5m2-2 2 2M10 17l-2-2m2 2 2-2M3 10l2-2m-2 2 2 2M17 10l-2-2m2 2-2 2" /></Icon>;
export const LassoIcon = () => <Icon><ellipse cx="10.5" cy="8" rx="6.5" ry="4.5" stroke-dasharray="2.6 1.8" /><path d="M6 11.2c-1.6.6-1.6 2.6 0 2.8 1.4.2 1.6 2-.2 3.2" /></Icon>;
export const FitIcon = () => <Icon><path d="M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4" /></Icon>;
export const PictureIcon = () => <Icon><path d="M10 3v9m0 0-3-3m3 3 3-3M3 14v3h14v-3" /></Icon>;
export const ClockIcon = () => <Icon><circle cx="10" cy="10" r="7" /><path d="M10 6v4l3 2" /></Icon>;
export const SunIcon = () => <Icon><circle cx="10" cy="10" r="3.2" /><path d="M10 2v2m0 12v2M2 10h2m12 0h2M4.3 4.3l1.5 1.5m8.4 8.4 1.5 1.5m0-11.4-1.5 1.5m-8.4 8.4-1.5 1.5" /></Icon>;
export const MoonIcon = () => <Icon><path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7Z" /></Icon>;
export const StackIcon = () => <Icon><path d="m10 3 7 3.5-7 3.5-7-3.5L10 3ZM3 10l7 3.5 7-3.5M3 13.5 10 17l7-3.5" /></Icon>;
export const LinkIcon = () => <Icon><path d="M11 4h5v5M16 4l-7 7M13 11v5H4V7h5" /></Icon>;
export const CopyIcon = () => <Icon><rect x="7" y="7" width="9" height="9" rx="1.5" /><path d="M4 13V5.5A1.5 1.5 0 0 1 5.5 4H13" /></Icon>;
export const UpIcon = () => <Icon><path d="m5 12 5-5 5 5" /></Icon>;
export const DownIcon = () => <Icon><path d="m5 8 5 5 5-5" /></Icon>;
export const ListIcon = () => <Icon><path d="M3 5h14M3 10h14M3 15h14" /></Icon>;
export const FilterIcon = () => <Icon><path d="M3 4h14l-5.5 6.5V16l-3-1.5v-4L3 4Z" /></Icon>;
export const MapIcon = () => <Icon><circle cx="6" cy="7" r="2" /><circle cx="13" cy="5" r="1.4" /><circle cx="14" cy="13" r="2.4" /><circle cx="7" cy="14" r="1.4" /></Icon>;
export const ColumnsIcon = () => <Icon><rect x="3" y="4" width="14" height="12" rx="1.5" /><path d="M8 4v12M12.5 4v12" /></Icon>;
